"""How many files a process may have open: as many as the system lets it, and who gets how many."""

import resource
from typing import Final

_ENOUGH: Final = 1 << 20  # more makes some systems' tables large, and nobody needs it
_KEPT_MIN: Final = 64
_CONNECTIONS: Final = 8192  # and whatever else is open: where there are more files, they get more
_KEPT_MAX: Final = 16_384  # some 1.5 KiB of the kernel's memory each


def raise_limit() -> int:
    """Raise this process's limit, and so that of its children, to what the system allows it.

    Sessions and units begin with a small one for the sake of programs that could not use more.

    Returns:
        The limit from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def kept_open_max() -> int:
    """Return how many files of objects may stay open for reading in this process."""
    return share_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def share_of(limit: int) -> int:
    """Return how many of so many open files are for objects: a quarter, or what connections leave.

    To open one anew costs a request several times what it costs otherwise, and with many tenants
    each has files of its own.
    """
    if limit == resource.RLIM_INFINITY:
        return _KEPT_MAX
    return max(_KEPT_MIN, min(max(limit // 4, limit - _CONNECTIONS), _KEPT_MAX))
