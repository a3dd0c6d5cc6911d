"""Listings: pages in byte order that miss nothing and repeat nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from storage_server.engine.errors import Damaged
from storage_server.engine.listing import Listings
from storage_server.engine.metastore import Columns, Page, Part, RollupSpec
from storage_server.engine.records import ObjectPage, Versioning, VersionPage
from storage_server.engine.store import Store
from tests.engine.opened import Opened

KEYS = [
    b"a", b"a/", b"a/b", b"a//b", b"a0", b"b", b"b\x00", b"b\x00\xff", b"b\x01", b"b/c/d",
    b"b/c/e", b"b/d", b"\xc3\xa4", b"\xff", b"\xff\xff", b"x" * 1024, b"x" * 1023 + b"y",
]  # fmt: skip


async def objects(opened: Opened, **choice: object) -> ObjectPage:
    """List current objects."""
    wanted: dict[str, object] = {"prefix": b"", "delimiter": b"", "after": b"", "limit": 1000}
    return await opened.store.listings.objects(opened.bucket, **(wanted | choice))  # type: ignore[arg-type]


async def versions(
    opened: Opened, listings: Listings | None = None, **choice: object
) -> VersionPage:
    """List versions."""
    wanted: dict[str, object] = {
        "prefix": b"",
        "delimiter": b"",
        "key_marker": b"",
        "version_id_marker": "",
        "limit": 1000,
    } | choice
    return await (listings or opened.store.listings).versions(opened.bucket, **wanted)  # type: ignore[arg-type]


def folded(keys: list[bytes], prefix: bytes, delimiter: bytes) -> list[bytes]:
    """Return the entries of a listing, as S3 defines them."""
    found: list[bytes] = []
    for key in sorted(keys):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if at < 0 else key[: at + len(delimiter)]
        if entry not in found:
            found.append(entry)
    return found


@pytest.mark.parametrize("delimiter", [b"", b"/", b"//", b"b", b"\x00", b"\xff", b"/c/"])
@pytest.mark.parametrize("prefix", [b"", b"a", b"a/", b"b", b"b\x00", b"\xff", b"x" * 9, b"none"])
async def test_every_page_length_shows_the_same(
    opened: Opened, prefix: bytes, delimiter: bytes
) -> None:
    """Keys and folded prefixes in one order, each once, however long the pages are."""
    await asyncio.gather(*(opened.put(key, b"x") for key in KEYS))
    wanted = folded(KEYS, prefix, delimiter)
    for limit in (1, 2, 3, 7, 1000):
        got: list[bytes] = []
        after = b""
        while True:
            page = await objects(
                opened, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
            entries = sorted(page.keys + page.prefixes)
            assert len(entries) <= limit
            got += entries
            if not page.truncated:
                break
            assert entries
            after = page.next_marker
        assert got == wanted


async def test_a_listing_starts_behind_any_bytes(opened: Opened) -> None:
    """``after`` need not be a key; inside a folded prefix it skips all of the prefix."""
    await asyncio.gather(*(opened.put(key, b"x") for key in KEYS))
    for after in [*KEYS, b"a/a", b"b/c", b"b/c/", b"\x00", b"zzz", b"x" * 1025]:
        page = await objects(opened, after=after)
        assert page.keys == [key for key in sorted(KEYS) if key > after]
    page = await objects(opened, delimiter=b"/", after=b"b/c/d")
    assert b"b/" not in page.prefixes
    assert (await objects(opened, limit=0)).keys == []


async def test_deleted_keys_are_not_listed(opened: Opened) -> None:
    """Neither removed objects nor those below a marker; their versions are."""
    await opened.set_versioning(Versioning.ENABLED)
    for key in (b"a", b"b/c", b"d"):
        await opened.put(key, b"x")
    await opened.delete(b"a")
    await opened.delete(b"b/c")
    page = await objects(opened, delimiter=b"/")
    assert (page.keys, page.prefixes) == ([b"d"], [])
    found = await versions(opened)
    assert [(one.key, one.is_latest, one.record.is_marker) for one in found.versions] == [
        (b"a", True, True),
        (b"a", False, False),
        (b"b/c", True, True),
        (b"b/c", False, False),
        (b"d", True, False),
    ]


async def many_versions(opened: Opened) -> list[tuple[bytes, str]]:
    """Write keys with null, old and marker versions; return all, in listing order."""
    made: dict[bytes, list[str]] = {}
    for state, letters in (
        (Versioning.UNVERSIONED, "p"),
        (Versioning.ENABLED, "ppd"),
        (Versioning.SUSPENDED, "p"),
        (Versioning.ENABLED, "pdp"),
    ):
        if state != Versioning.UNVERSIONED:
            await opened.set_versioning(state)
        for n, key in enumerate((b"a", b"a/b", b"a/c", b"b")):
            for letter in letters[: n + 1]:
                one = (
                    (await opened.put(key, b"x")).version_id
                    if letter == "p"
                    else (await opened.delete(key)).version_id
                )
                ids = made.setdefault(key, [])
                if (one or "null") == "null" and "null" in ids:
                    ids.remove("null")
                ids.insert(0, one or "null")
    return [(key, one) for key in sorted(made) for one in made[key]]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 100])
async def test_versions_page_inside_a_key(opened: Opened, limit: int) -> None:
    """Both markers together continue anywhere, also behind null versions and markers."""
    wanted = await many_versions(opened)
    got: list[tuple[bytes, str]] = []
    latest: list[bytes] = []
    key_marker, version_id_marker = b"", ""
    while True:
        page = await versions(
            opened, key_marker=key_marker, version_id_marker=version_id_marker, limit=limit
        )
        assert len(page.versions) <= limit
        got += [(one.key, one.record.version_id) for one in page.versions]
        latest += [one.key for one in page.versions if one.is_latest]
        if not page.truncated:
            break
        key_marker, version_id_marker = page.next_key, page.next_version_id
    assert got == wanted
    assert latest == [b"a", b"a/b", b"a/c", b"b"]


async def test_every_version_is_a_marker_to_continue_behind(opened: Opened) -> None:
    """Whatever version a client names, what follows is what came after it."""
    wanted = await many_versions(opened)
    for at, (key, version_id) in enumerate(wanted):
        page = await versions(opened, key_marker=key, version_id_marker=version_id)
        assert [(one.key, one.record.version_id) for one in page.versions] == wanted[at + 1 :]
        behind = await versions(opened, key_marker=key)
        assert [(one.key, one.record.version_id) for one in behind.versions] == [
            one for one in wanted if one[0] > key
        ]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_versions_fold_at_a_delimiter(opened: Opened, limit: int) -> None:
    """A folded prefix holds all versions of its keys and counts once."""
    wanted: list[tuple[bytes, str]] = [
        one for one in await many_versions(opened) if b"/" not in one[0]
    ]
    wanted.insert([key for key, _ in wanted].index(b"b"), (b"a/", ""))
    got: list[tuple[bytes, str]] = []
    key_marker, version_id_marker = b"", ""
    while True:
        page = await versions(
            opened,
            delimiter=b"/",
            key_marker=key_marker,
            version_id_marker=version_id_marker,
            limit=limit,
        )
        entries: list[tuple[bytes, str]] = [
            (one.key, one.record.version_id) for one in page.versions
        ]
        entries += [(one, "") for one in page.prefixes]
        assert len(entries) <= limit
        got += sorted(entries, key=lambda entry: entry[0])
        if not page.truncated:
            break
        key_marker, version_id_marker = page.next_key, page.next_version_id
    assert got == wanted


class Interrupted:
    """A metadata store on which something is committed between two walks of one listing."""

    def __init__(self, store: Store, meanwhile: Callable[[], Awaitable[object]]) -> None:
        """Run ``meanwhile`` behind the first walk."""
        self._meta = store.inside.meta
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def rollup(self, part: Part, spec: RollupSpec) -> Page:
        """Walk, then let the other happen."""
        return (await self.rollup_all(part, [spec]))[0]

    async def rollup_all(self, part: Part, specs: Sequence[RollupSpec]) -> list[Page]:
        """Walk in one snapshot, then let the other happen."""
        pages = await self._meta.rollup_all(part, specs)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return pages

    def __getattr__(self, name: str) -> object:
        return getattr(self._meta, name)


@pytest.mark.parametrize("what", ["put", "delete", "undelete", "remove"])
async def test_r6_a_listing_never_loses_a_version_to_a_commit_beside_it(
    opened: Opened, what: str
) -> None:
    """R6: a version that was acknowledged and not removed is in every page that covers it."""
    await opened.set_versioning(Versioning.ENABLED)
    stored = await opened.put(b"k", b"1")
    top = await (opened.delete(b"k") if what == "undelete" else opened.put(b"k", b"2"))

    async def meanwhile() -> None:
        if what == "put":
            await opened.put(b"k", b"3")
        elif what == "delete":
            await opened.delete(b"k")
        else:
            await opened.delete(b"k", top.version_id)

    beside = Listings(Interrupted(opened.store, meanwhile))  # type: ignore[arg-type]
    page = await versions(opened, beside)
    ids = [one.record.version_id for one in page.versions]
    assert stored.version_id in ids
    assert len(ids) == len(set(ids))
    assert sum(one.is_latest for one in page.versions) == 1
    if what in {"put", "delete"}:
        assert top.version_id in ids


async def test_a_damaged_row_is_not_listed_around(opened: Opened) -> None:
    """A listing that can't show a row says so; it does not leave it out."""
    await opened.put(b"k", b"x")

    class Rotten(Interrupted):
        async def rollup(self, part: Part, spec: RollupSpec) -> Page:
            page = await super().rollup(part, spec)
            return Page(
                [(one, (value or b"")[:-1] + b"\x00\x00") for one, value in page.rows],
                page.more,
                page.last,
            )

        async def columns(self, part: Part, start: bytes, end: bytes, limit: int) -> Columns:
            flat = await self._meta.columns(part, start, end, limit)
            values = [value[:-1] + b"\x00\x00" for value in flat.values]
            return Columns(flat.stem, flat.keys, values, flat.more)

    async def nothing() -> None:
        return

    rotten = Listings(Rotten(opened.store, nothing))  # type: ignore[arg-type]
    for delimiter in (b"", b"/"):
        with pytest.raises(Damaged):
            await rotten.objects(opened.bucket, prefix=b"", delimiter=delimiter, after=b"", limit=9)
