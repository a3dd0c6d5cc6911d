"""Versions of a key: what each bucket state does with them, and who wins a race for one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace

from storage_server.core.ids import VersionId
from storage_server.engine.errors import (
    ConditionFailed,
    EngineError,
    KeyMissing,
    VersionMissing,
)
from storage_server.engine.metastore import LATER, Later, Part
from storage_server.engine.records import (
    BucketRecord,
    NewObject,
    Stored,
    Versioning,
    VersionRecord,
    WriteCondition,
)
from storage_server.engine.versions import Versions
from tests.engine.opened import OWN_FILE, OWNER, SIZES, WRITER, Opened, body, facts

OFF, ON, PAUSED = Versioning.UNVERSIONED, Versioning.ENABLED, Versioning.SUSPENDED
ABSENT = WriteCondition(absent=True)


async def shown(opened: Opened, key: bytes = b"k") -> list[tuple[str, str]]:
    """Return a key's versions, newest first: content or ``-`` for a marker, and kind of id."""
    page = await opened.store.listings.versions(
        opened.bucket,
        prefix=key,
        delimiter=b"",
        key_marker=b"",
        version_id_marker="",
        limit=1000,
    )
    found = []
    for at, one in enumerate(page.versions):
        assert one.is_latest == (at == 0)
        kind = "null" if one.record.is_null else "id"
        if one.record.is_marker:
            found.append(("-", kind))
        else:
            content = await opened.read(key, one.record.version_id)
            assert content is not None
            found.append((content.decode(), kind))
    return found


async def replay(opened: Opened, script: str) -> None:
    """Do one thing per letter: put 1-9, delete d, go E(nabled) or S(uspended)."""
    for letter in script:
        if letter == "E":
            await opened.set_versioning(ON)
        elif letter == "S":
            await opened.set_versioning(PAUSED)
        elif letter == "d":
            await opened.delete(b"k")
        else:
            await opened.put(b"k", letter.encode())


@pytest.mark.parametrize(
    ("script", "versions"),
    [
        ("1", "1:null"),
        ("12", "2:null"),
        ("1d", ""),
        ("1E2", "2:id 1:null"),
        ("1Ed", "-:id 1:null"),
        ("1E2d", "-:id 2:id 1:null"),
        ("E1S2", "2:null 1:id"),
        ("E1S23", "3:null 1:id"),
        ("E1Sd", "-:null 1:id"),
        ("E1Sdd", "-:null 1:id"),
        ("E1Sd2", "2:null 1:id"),
        ("E1S2d", "-:null 1:id"),
        ("1S2", "2:null"),
        ("1Sd", "-:null"),
        ("1Sd2", "2:null"),
        ("1E2S3", "3:null 2:id"),
        ("1E2S3E4", "4:id 3:null 2:id"),
        ("1E2S3E4S5", "5:null 4:id 2:id"),
        ("1E2S3E4Sd", "-:null 4:id 2:id"),
        ("1E2SdE3", "3:id -:null 2:id"),
        ("1E2SdE3S4", "4:null 3:id 2:id"),
        ("1EdSd", "-:null -:id"),
        ("1EdS2", "2:null -:id"),
        ("Ed", "-:id"),
        ("Edd", "-:id -:id"),
        ("Sd", "-:null"),
    ],
)
async def test_states_of_a_bucket_leave_these_versions(
    opened: Opened, script: str, versions: str
) -> None:
    """Null versions replace each other, others never do, and markers are versions too."""
    await replay(opened, script)
    assert await shown(opened) == [tuple(one.split(":")) for one in versions.split()]
    usage = await opened.store.buckets.usage(opened.bucket)
    markers = versions.count("-")
    assert (usage.objects, usage.markers) == (len(versions.split()) - markers, markers)
    assert usage.keys == (bool(versions) and not versions.startswith("-"))


@pytest.mark.parametrize("script", ["E1", "E12", "1E2", "1E2S3", "E1d", "1EdS2", "E1d2d", "E12d"])
async def test_removing_versions_one_by_one_shows_the_rest(opened: Opened, script: str) -> None:
    """Deleting the newest promotes the next; deleting an older one changes nothing above it."""
    await replay(opened, script)
    while True:
        page = await opened.store.listings.versions(
            opened.bucket,
            prefix=b"",
            delimiter=b"",
            key_marker=b"",
            version_id_marker="",
            limit=1000,
        )
        if not page.versions:
            break
        before = await shown(opened)
        at = len(page.versions) // 2
        gone = page.versions[at].record
        deleted = await opened.delete(b"k", gone.version_id)
        assert (deleted.existed, deleted.is_marker) == (True, gone.is_marker)
        assert deleted.version_id == gone.version_id
        assert await shown(opened) == before[:at] + before[at + 1 :]
        current = await opened.find(b"k")
        left = before[:at] + before[at + 1 :]
        assert (current is None) == (not left)
        assert current is None or current.is_marker == (left[0][0] == "-")
        assert (await opened.delete(b"k", gone.version_id)).existed is False
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.keys, usage.objects, usage.markers, usage.object_bytes) == (0, 0, 0, 0)


async def test_version_ids_are_new_each_time_and_found_for_good(opened: Opened) -> None:
    """An id finds its version wherever it lies by now; another key's id finds nothing."""
    await opened.set_versioning(ON)
    ids = [(await opened.put(b"k", b"%d" % n)).version_id for n in range(5)]
    assert len(set(ids)) == 5
    for n, version_id in enumerate(ids):
        assert version_id is not None
        assert await opened.read(b"k", version_id) == b"%d" % n
        assert await opened.find(b"other", version_id) is None
        forged = version_id[:16] + "0" * 16
        assert await opened.find(b"k", forged) is None
        assert not (await opened.delete(b"k", forged)).existed
    for nonsense in ("", "x", "null", "0" * 32, "z" * 32, "é"):
        assert await opened.find(b"k", nonsense) is None
        assert not (await opened.delete(b"k", nonsense)).existed


class Interrupted:
    """A metadata store on which something is committed behind the first read of a find."""

    def __init__(self, opened: Opened, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._meta = opened.store.inside.meta
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    def get_now(self, *_read: object) -> Later:
        """Send the caller to ``get_many``."""
        return LATER

    async def get_many(self, part: Part, wanted: Sequence[bytes]) -> dict[bytes, bytes]:
        """Read, then let the other happen."""
        found = await self._meta.get_many(part, wanted)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._meta, name)


async def test_r6_a_version_that_moves_is_found_all_the_same(opened: Opened) -> None:
    """R6: while the version above it goes, an old one is neither missed nor taken for current."""
    inside = opened.store.inside

    async def find_while(
        version_id: VersionId | None, meanwhile: Callable[[], Awaitable[object]]
    ) -> VersionRecord | None:
        meta = Interrupted(opened, meanwhile)
        beside = Versions(meta, inside.committer, inside.bodies, inside.grants)  # type: ignore[arg-type]
        return await beside.find(opened.bucket, b"k", version_id)

    await opened.set_versioning(ON)
    await opened.put(b"k", b"1")
    second = await opened.put(b"k", b"2")
    third = await opened.put(b"k", b"3")
    found = await find_while(second.version_id, lambda: opened.delete(b"k", third.version_id))
    assert found is not None
    assert found.version_id == second.version_id
    marker = await opened.delete(b"k")
    found = await find_while(None, lambda: opened.delete(b"k", marker.version_id))
    assert found is not None
    assert found.version_id == second.version_id
    assert await find_while(VersionId("0" * 32), lambda: opened.put(b"k", b"4")) is None


# --- Changes of a version --------------------------------------------------------------------


async def retag(opened: Opened, version_id: str | None, value: str) -> None:
    """Set one tag of a version of ``k``."""
    record = await opened.get(b"k", version_id)
    await opened.store.versions.change(
        opened.bucket,
        b"k",
        None if version_id is None else record.version_id,
        lambda detail: replace(detail, tags=(("t", value),)),
    )


async def tag_of(opened: Opened, version_id: str | None) -> str:
    """Return that tag."""
    return dict((await opened.get(b"k", version_id)).detail.tags).get("t", "")


@pytest.mark.parametrize("size", SIZES)
async def test_a_change_leaves_identity_and_bytes_alone(opened: Opened, size: int) -> None:
    """Tags of old, null and current versions change, and nothing else of them."""
    await opened.put(b"k", body(size, 0))
    await opened.set_versioning(ON)
    old = await opened.put(b"k", body(size, 1))
    await opened.put(b"k", body(size, 2))
    wanted: list[tuple[str | None, int]] = [("null", 0), (old.version_id, 1), (None, 2)]
    before = [await opened.get(b"k", version_id) for version_id, _ in wanted]
    for version_id, n in wanted:
        await retag(opened, version_id, f"value {n}")
    for (version_id, n), was in zip(wanted, before, strict=True):
        now = await opened.get(b"k", version_id)
        assert await tag_of(opened, version_id) == f"value {n}"
        assert await opened.read(b"k", version_id) == body(size, n)
        assert now.seq > was.seq
        assert replace(now, seq=0, time_us=0, detail=was.detail) == replace(was, seq=0, time_us=0)


async def test_a_promoted_version_keeps_its_changes(opened: Opened) -> None:
    """What was tagged while it was old is tagged as the current one."""
    await opened.set_versioning(ON)
    old = await opened.put(b"k", b"old")
    new = await opened.put(b"k", b"new")
    await retag(opened, old.version_id, "kept")
    await opened.delete(b"k", new.version_id)
    assert await tag_of(opened, None) == "kept"
    await retag(opened, None, "again")
    assert await tag_of(opened, old.version_id) == "again"


async def test_what_has_no_detail_can_not_be_changed(opened: Opened) -> None:
    """A missing key, a missing version and a marker are told apart."""
    versions = opened.store.versions
    with pytest.raises(KeyMissing):
        await versions.change(opened.bucket, b"k", None, lambda detail: detail)
    await opened.set_versioning(ON)
    await opened.put(b"k", b"x")
    marker = await opened.delete(b"k")
    with pytest.raises(KeyMissing):
        await versions.change(opened.bucket, b"k", None, lambda detail: detail)
    assert marker.version_id is not None
    for version_id in (marker.version_id, type(marker.version_id)("0" * 32)):
        with pytest.raises(VersionMissing):
            await versions.change(opened.bucket, b"k", version_id, lambda detail: detail)


async def test_concurrent_changes_lose_nothing(opened: Opened) -> None:
    """Fifty changes of one version are fifty changes."""
    await opened.put(b"k", b"x")
    await asyncio.gather(
        *(
            opened.store.versions.change(
                opened.bucket,
                b"k",
                None,
                lambda detail, n=n: replace(detail, tags=(*detail.tags, (str(n), ""))),  # type: ignore[misc]
            )
            for n in range(50)
        )
    )
    tags = (await opened.get(b"k")).detail.tags
    assert sorted(int(name) for name, _ in tags) == list(range(50))


# --- Conditions and races --------------------------------------------------------------------


@pytest.mark.parametrize("state", list(Versioning))
@pytest.mark.parametrize("size", SIZES)
async def test_s58_of_fifty_creators_one_wins(opened: Opened, size: int, state: Versioning) -> None:
    """S58: If-None-Match * lets exactly one of fifty in, and its bytes are what is read."""
    if state != OFF:
        await opened.set_versioning(state)
        await opened.put(b"k", b"gone")
        await opened.delete(b"k")  # a marker on top is absence
    writers = 50 if size < OWN_FILE else 12
    outcomes = await asyncio.gather(
        *(opened.put(b"k", body(size, n), ABSENT) for n in range(writers)),
        return_exceptions=True,
    )
    won = [n for n, one in enumerate(outcomes) if isinstance(one, Stored)]
    assert len(won) == 1
    assert {type(one) for one in outcomes} == {Stored, ConditionFailed}
    assert await opened.read(b"k") == body(size, won[0])
    assert len(opened.own_files()) == (size == OWN_FILE)


async def test_s58_compare_and_swap_never_loses_an_update(opened: Opened) -> None:
    """S58: If-Match makes a counter of an object: eight writers, ten increments each."""
    await opened.put(b"k", b"0")
    retries = 0

    async def increment() -> None:
        nonlocal retries
        for _ in range(10):
            while True:
                record = await opened.get(b"k")
                content = await opened.read(b"k")
                assert content is not None
                try:
                    await opened.put(
                        b"k", b"%d" % (int(content) + 1), WriteCondition(match=record.etag)
                    )
                    break
                except ConditionFailed:
                    retries += 1

    await asyncio.gather(*(increment() for _ in range(8)))
    assert await opened.read(b"k") == b"80"
    assert retries > 0


async def test_s58_conditional_deletes_have_one_winner(opened: Opened) -> None:
    """S58: of many deletes of one ETag one deletes, the rest learn that it is gone."""
    stored = await opened.put(b"k", b"x")
    condition = WriteCondition(match=stored.etag)
    outcomes = await asyncio.gather(
        *(opened.delete(b"k", None, condition) for _ in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in outcomes) == 1
    assert sum(isinstance(one, KeyMissing) for one in outcomes) == 19


async def test_a_refused_write_leaves_what_was_there(opened: Opened) -> None:
    """A condition that fails stores nothing and deletes nothing, whatever the size."""
    await opened.put(b"k", b"first")
    before = await opened.get(b"k")
    for size in SIZES:
        for condition in (ABSENT, WriteCondition(match="other"), WriteCondition(size_bytes=9)):
            with pytest.raises(ConditionFailed):
                await opened.put(b"k", body(size), condition)
            with pytest.raises(ConditionFailed):
                await opened.delete(b"k", None, condition)
    with pytest.raises(KeyMissing):
        await opened.put(b"none", b"x", WriteCondition(match="*"))
    assert await opened.get(b"k") == before
    assert await opened.read(b"k") == b"first"
    assert opened.own_files() == []


async def test_a_condition_on_a_version_is_about_that_version(opened: Opened) -> None:
    """Deleting an old version compares the old one, not the current one."""
    await opened.set_versioning(ON)
    old = await opened.put(b"k", b"old")
    new = await opened.put(b"k", b"new")
    with pytest.raises(ConditionFailed):
        await opened.delete(b"k", old.version_id, WriteCondition(match=new.etag))
    assert (await opened.delete(b"k", old.version_id, WriteCondition(match=old.etag))).existed
    with pytest.raises(KeyMissing):
        await opened.delete(b"k", old.version_id, WriteCondition(match=old.etag))


# --- Time and bytes --------------------------------------------------------------------------


async def test_r7_a_clock_that_jumps_back_does_not_reorder(opened: Opened) -> None:
    """R7: versions are ordered by commits; times never run back within a bucket."""
    await opened.set_versioning(ON)
    times = []
    for n, seconds in enumerate((0, -86_400, 172_800, -3600)):
        opened.clock.advance(seconds=seconds)
        times.append((await opened.put(b"k", b"%d" % n)).modified_us)
    assert times == sorted(times)
    assert [content for content, _ in await shown(opened)] == ["3", "2", "1", "0"]


async def test_a_reader_keeps_its_bytes_when_the_object_goes(opened: Opened) -> None:
    """Overwritten and deleted in the middle of a read, the old bytes come whole."""
    content = body(3_000_000, 1)
    await opened.put(b"k", content)
    record = await opened.get(b"k")
    reader = await opened.store.versions.open(opened.bucket, b"k", record, 0, len(content))
    got = bytearray()
    async for view in reader:
        if not got:
            await opened.put(b"k", b"new")
            await opened.delete(b"k")
            await opened.free_all()
            assert opened.own_files() == []
        got += view
    await reader.aclose()
    assert bytes(got) == content


async def test_bytes_freed_before_the_read_are_a_missing_version(opened: Opened) -> None:
    """Who comes too late with an old record is told that the version is gone."""
    await opened.put(b"k", body(OWN_FILE))
    record = await opened.get(b"k")
    await opened.delete(b"k")
    await opened.free_all()
    for length in (1000, OWN_FILE):  # read at once, and as a stream
        with pytest.raises(VersionMissing):
            await opened.store.versions.open(opened.bucket, b"k", record, 0, length)


async def test_what_a_client_says_of_an_object_is_kept(opened: Opened) -> None:
    """Headers, metadata, tags, class and owner come back, after a restart as well."""
    new = NewObject(
        owner=OWNER,
        writer=WRITER,
        storage_class="STANDARD_IA",
        headers=(("content-type", "text/plain"),),
        user_metadata=(("a", "ä"),),
        tags=(("t", "v"),),
    )
    await opened.put(b"k", b"x", new=new)
    await opened.reopen()
    record = await opened.get(b"k")
    detail = record.detail
    assert (record.storage_class, detail.owner, detail.writer) == ("STANDARD_IA", OWNER, WRITER)
    assert (detail.headers, detail.user_metadata) == (new.headers, new.user_metadata)
    assert detail.tags == new.tags


@pytest.mark.parametrize(
    "key", [b"a", b"a/", b"a/b", b"a//b", b"./x", b"..", b"%2F", b"\x00", b"\x00\x01", b"\xff" * 9]
)
async def test_every_key_is_its_own(opened: Opened, key: bytes) -> None:
    """Keys that look alike to a file system are different objects here."""
    rivals = [b"a", b"a/", b"a/b", b"/a", b"a//b", b"x", b".", b"/", b"\x00\xff", b"\xff" * 8]
    for rival in rivals:
        await opened.put(rival, b"rival " + rival)
    await opened.put(key, b"this")
    for rival in rivals:
        assert await opened.read(rival) == (b"this" if rival == key else b"rival " + rival)
    await opened.delete(key)
    assert await opened.read(key) is None


async def test_a_stage_may_be_aborted_again_and_again(opened: Opened) -> None:
    """An aborted body leaves no file and no intent."""
    for size in SIZES:
        stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=size)
        await stage.write(body(size))
        await stage.abort()
        await stage.abort()
    assert opened.own_files() == []
    assert await opened.read(b"k") is None


async def test_a_closed_bucket_takes_no_version(opened: Opened) -> None:
    """A body staged before the bucket went is given back."""
    stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    bucket: BucketRecord = opened.bucket
    await opened.store.buckets.delete(bucket)
    from_client = NewObject(owner=OWNER, writer=WRITER)
    with pytest.raises(EngineError):
        await opened.store.versions.put(bucket, b"k", from_client, stage, facts(body(OWN_FILE)))
    assert opened.own_files() == []
