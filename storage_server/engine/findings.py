"""What a check of the store can find wrong, and what it answers in the end."""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Fix = Callable[[], Awaitable[object]]


class FindingKind(enum.StrEnum):
    """What is wrong; the values are part of ``fsck --json``."""

    ROW_DAMAGED = "row-damaged"
    KEY_ROWS_DISAGREE = "key-rows-disagree"
    NULL_POINTER_WRONG = "null-pointer-wrong"
    COUNTERS_WRONG = "counters-wrong"
    UPLOAD_COUNTS_WRONG = "upload-counts-wrong"
    PARTS_STRAY = "parts-stray"
    SIZE_WRONG = "size-wrong"
    BLOB_MISSING = "blob-missing"
    BLOB_DAMAGED = "blob-damaged"
    BLOB_HELD_TWICE = "blob-held-twice"
    BLOB_ORPHAN = "blob-orphan"
    DEAD_NOTE_WRONG = "dead-note-wrong"
    REFERENCE_MISSING = "reference-missing"
    REFERENCE_STRAY = "reference-stray"
    MANIFEST_STRAY = "manifest-stray"
    GRANTS_WRONG = "grants-wrong"
    BUCKET_COUNT_WRONG = "bucket-count-wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``repair`` says what would be done; empty: nothing can be."""

    kind: FindingKind
    where: str
    detail: str
    repair: str = ""
    repaired: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        if self.repaired:
            return f"{self.kind}: {self.where}: {self.detail} (repaired: {self.repair})"
        if self.repair:
            return f"{self.kind}: {self.where}: {self.detail} (--repair would {self.repair})"
        return f"{self.kind}: {self.where}: {self.detail} (can't be repaired: put it again)"


@dataclass(slots=True)
class Summary:
    """What was checked and what was found.

    ``unheld_entries`` are entries of segments that no row refers to: what refused or interrupted
    writes leave. They are no fault; a repair notes them for compaction.
    """

    buckets: int = 0
    keys: int = 0
    versions: int = 0
    uploads: int = 0
    parts: int = 0
    blobs: int = 0
    unheld_entries: int = 0
    unfinished: int = 0
    findings: int = 0
    repaired: int = 0

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong (any more)."""
        return self.findings == self.repaired

    @property
    def text(self) -> str:
        """One line for people."""
        checked = (
            f"{self.buckets} buckets, {self.keys} keys, {self.versions} versions,"
            f" {self.uploads} uploads, {self.blobs} blobs"
        )
        if self.findings == 0:
            return f"clean: {checked}"
        return f"{self.findings} findings, {self.repaired} repaired: {checked}"


@dataclass(slots=True)
class Found:
    """The findings of one pass, each once, with what repairs them."""

    findings: dict[tuple[FindingKind, str], tuple[Finding, Fix | None]] = field(
        default_factory=dict
    )

    def add(
        self, kind: FindingKind, where: str, detail: str, repair: str = "", fix: Fix | None = None
    ) -> None:
        """Remember a finding; ``fix`` does what ``repair`` says."""
        self.findings[kind, where] = (Finding(kind, where, detail, repair), fix)
