"""Random bytes of the system, fetched ahead.

Storing an object takes six of them, and each would be a system call of a microsecond or two at
which another thread may take the interpreter away.
"""

import os
from typing import Final

PIECE_BYTES: Final = 32  # a key; an id or a nonce takes one as well and leaves the rest of it
_PIECES_FETCHED: Final = 128


class Randomness:
    """A stock of random pieces. Each is handed out once, to one thread, and is then forgotten."""

    def __init__(self) -> None:
        """Begin with nothing. A forked child begins anew: it must not hand out its parent's."""
        self._pieces: list[bytes] = []
        os.register_at_fork(after_in_child=self._pieces.clear)

    def take(self, count: int) -> bytes:
        """Return so many random bytes, at most 32."""
        assert count <= PIECE_BYTES
        while True:
            try:
                return self._pieces.pop()[:count]
            except IndexError:
                self._fetch()

    def _fetch(self) -> None:
        fetched = os.urandom(PIECE_BYTES * _PIECES_FETCHED)
        # In one step: other threads take pieces meanwhile.
        self._pieces += [
            fetched[start : start + PIECE_BYTES] for start in range(0, len(fetched), PIECE_BYTES)
        ]


random_bytes: Final = Randomness().take
"""The process's own stock, for ids, nonces and keys."""
