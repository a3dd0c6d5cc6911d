"""Guessing of bucket names, slowed down: a name's existence is public, a list of them is not."""

from collections import OrderedDict

from storage_server.core.clock import Clock
from storage_server.s3 import errors
from storage_server.services.actor import Actor
from storage_server.services.traffic import site, slow_down


class DeniedElsewhere(errors.AccessDenied):
    """The bucket is of a tenant that is not the asker's: the answer tells that its name exists."""


_MISSES = (errors.NoSuchBucket, errors.BucketAlreadyExists, DeniedElsewhere)
_ASKERS_MAX = 10_000  # remembered in one worker, some 200 bytes each; the quietest is forgotten
_MINUTE_US = 60_000_000


class LookupGuard:
    """Counts requests that missed a bucket, for each tenant and address; hits cost nothing.

    A refusal in the asker's own tenant is no miss: it tells nothing of names of others.
    """

    def __init__(self, clock: Clock, *, per_minute: int) -> None:
        """Allow ``per_minute`` misses at once and again every minute; 0 allows any number."""
        self._clock = clock
        self._per_minute = per_minute
        self._left: OrderedDict[tuple[bytes, str], tuple[float, int]] = OrderedDict()

    def judge(self, actor: Actor, peer: str, error: errors.S3Error) -> errors.S3Error:
        """Return what to answer instead of an error: the same, or SlowDown after too many misses.

        Then a name that exists can't be told from one that does not.
        """
        if not self._per_minute or actor.is_root or not isinstance(error, _MISSES):
            return error
        tenant: bytes = b"" if actor.tenant is None else actor.tenant.tenant_id
        asker = (tenant, site(peer))
        now_us = self._clock.now_us()
        left, seen_us = self._left.pop(asker, (float(self._per_minute), now_us))
        regained = max(0, now_us - seen_us) * self._per_minute / _MINUTE_US
        left = min(left + regained, float(self._per_minute))
        is_within = left >= 1.0
        self._left[asker] = (left - is_within, now_us)
        if len(self._left) > _ASKERS_MAX:
            self._left.popitem(last=False)
        if is_within:
            return error
        return slow_down()
