"""What S3 would hold: a bucket as lists of versions in memory, with the rules in a few lines."""

import hashlib
from dataclasses import dataclass, field

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key; ``body`` None is a delete marker."""

    version_id: str
    body: bytes | None
    etag: str = ""
    metadata: str = ""
    tags: Tags = ()

    @property
    def is_marker(self) -> bool:
        """Whether this is a delete marker."""
        return self.body is None


def etag_of(body: bytes) -> str:
    """Return the ETag of a body put at once."""
    return f'"{hashlib.md5(body).hexdigest()}"'


@dataclass(slots=True)
class Upload:
    """An upload with its parts so far."""

    key: str
    metadata: str
    parts: dict[int, bytes] = field(default_factory=dict)

    def etag(self, numbers: list[int]) -> str:
        """Return the ETag that a completion with these parts has."""
        digests = b"".join(hashlib.md5(self.parts[number]).digest() for number in numbers)
        return f'"{hashlib.md5(digests).hexdigest()}-{len(numbers)}"'


@dataclass(slots=True)
class BucketModel:
    """A bucket; versions of a key are newest first."""

    status: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def current(self, key: str) -> Version | None:
        """Return the latest version, or None when the key reads as missing."""
        versions = self.keys.get(key)
        if not versions or versions[0].is_marker:
            return None
        return versions[0]

    def find(self, key: str, version_id: str) -> Version | None:
        """Return a version or marker by its id."""
        return next((v for v in self.keys.get(key, []) if v.version_id == version_id), None)

    def add(self, key: str, version: Version) -> None:
        """Put a version on top; a null version replaces the older null version."""
        rest = [v for v in self.keys.get(key, []) if v.version_id != version.version_id]
        self.keys[key] = [version, *rest]

    def replace(self, key: str, version: Version) -> None:
        """Change a version where it stands."""
        self.keys[key] = [
            version if v.version_id == version.version_id else v for v in self.keys[key]
        ]

    def drop(self, key: str, version_id: str) -> None:
        """Remove one version."""
        rest = [v for v in self.keys.get(key, []) if v.version_id != version_id]
        if rest:
            self.keys[key] = rest
        else:
            self.keys.pop(key, None)

    def objects(self) -> list[tuple[str, str, int]]:
        """Return (key, ETag, size) of what a listing shows."""
        return [
            (key, version.etag, len(version.body or b""))
            for key in sorted(self.keys, key=str.encode)
            if (version := self.current(key))
        ]

    def versions(self) -> list[tuple[str, str, bool, bool]]:
        """Return (key, version id, is latest, is marker) of all versions, in listing order."""
        return [
            (key, version.version_id, at == 0, version.is_marker)
            for key in sorted(self.keys, key=str.encode)
            for at, version in enumerate(self.keys[key])
        ]

    def rolled_up(self, prefix: str, delimiter: str) -> list[str]:
        """Return keys and common prefixes of a listing, merged in order."""
        entries: dict[str, None] = {}
        for key, _, _ in self.objects():
            if key.startswith(prefix):
                head, mark, _ = key[len(prefix) :].partition(delimiter)
                entries[prefix + head + mark if mark else key] = None
        return sorted(entries, key=str.encode)
