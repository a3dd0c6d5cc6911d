"""A disk whose flushes can be looked at, each by itself."""

from collections.abc import Sequence

from storage_server.engine.drivers.disk import SystemDisk


class OneByOneDisk(SystemDisk):
    """The real disk, but each flush of a file is a call of ``fdatasync``."""

    def fdatasync_all(self, descriptors: Sequence[int]) -> list[OSError | None]:
        """Flush files one after the other."""
        return [self._tried(descriptor) for descriptor in descriptors]

    def _tried(self, descriptor: int) -> OSError | None:
        try:
            self.fdatasync(descriptor)
        except OSError as error:
            return error
        return None
