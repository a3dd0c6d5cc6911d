"""Copies and renames: new names for old bytes, and who owns what when one of them goes."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.engine.errors import (
    ConditionFailed,
    EngineError,
    KeyMissing,
    VersioningForbids,
    VersionMissing,
)
from storage_server.engine.records import (
    BucketRecord,
    NewObject,
    Stored,
    Versioning,
    WriteCondition,
)
from tests.engine.opened import (
    INLINE,
    NEW,
    OWN_FILE,
    OWNER,
    PART,
    SEGMENT,
    SIZES,
    WRITER,
    Opened,
    body,
)
from tests.identities import ensure_tenant


async def copy(
    opened: Opened,
    source: bytes,
    key: bytes,
    *,
    to: BucketRecord | None = None,
    version_id: str | None = None,
    new: NewObject = NEW,
    condition: WriteCondition | None = None,
) -> Stored:
    """Copy one of the bucket's objects."""
    record = await opened.get(source, version_id)
    target = to or opened.bucket
    return await opened.store.copies.copy(
        opened.bucket, source, record, target, key, new, condition or WriteCondition()
    )


async def rename(opened: Opened, source: bytes, key: bytes, **conditions: WriteCondition) -> Stored:
    """Rename an object of the bucket."""
    return await opened.store.copies.rename(opened.bucket, source, key, writer=WRITER, **conditions)


@pytest.mark.parametrize("size", [0, *SIZES])
async def test_a_copy_reads_like_its_source(opened: Opened, size: int) -> None:
    """Bytes, ETag and size are the source's; metadata is what the copier says."""
    content = body(size)
    new = NewObject(owner=OWNER, writer=WRITER, user_metadata=(("copied", "yes"),))
    await opened.put(b"source", content)
    source = await opened.get(b"source")
    stored = await copy(opened, b"source", b"copy", new=new)
    record = await opened.get(b"copy")
    assert await opened.read(b"copy") == content
    assert (stored.etag, stored.size_bytes, record.etag) == (source.etag, size, source.etag)
    assert record.detail.user_metadata == new.user_metadata
    assert record.order > source.order


@pytest.mark.parametrize(("size", "files"), [(INLINE, 0), (SEGMENT, 0), (OWN_FILE, 1)])
async def test_large_copies_share_and_small_ones_do_not(
    opened: Opened, size: int, files: int
) -> None:
    """Ten copies of a large object add no file; a small copy has a key and bytes of its own."""
    await opened.put(b"source", body(size))
    for n in range(10):
        await copy(opened, b"source", b"copy%d" % n)
    assert len(opened.own_files()) == files
    source, first = await opened.get(b"source"), await opened.get(b"copy0")
    assert source.detail.body is not None
    assert first.detail.body is not None
    ids = [
        extent.blob_id for one in (source.detail.body, first.detail.body) for extent in one.extents
    ]
    assert len(set(ids)) == (1 if files else len(ids))
    assert source.detail.body.wrapped_key != first.detail.body.wrapped_key
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.object_bytes) == (11, 11 * size)


@pytest.mark.parametrize("size", SIZES)
async def test_shared_bytes_live_as_long_as_anybody_holds_them(opened: Opened, size: int) -> None:
    """Whichever of source and copies goes first, the last one reads; then the bytes go."""
    await opened.put(b"0", body(size))
    await copy(opened, b"0", b"1")
    await copy(opened, b"1", b"2")
    other = await opened.another("other")
    await copy(opened, b"0", b"3", to=other)
    for key in (b"0", b"2"):
        await opened.delete(key)
        await opened.free_all()
        assert await opened.read(b"1") == body(size)
        assert await opened.read(b"3", bucket=other) == body(size)
    await opened.delete(b"1")
    await opened.free_all()
    await opened.reopen()
    assert await opened.read(b"3", bucket=other) == body(size)
    opened.bucket = other
    await opened.delete(b"3")
    await opened.free_all()
    assert opened.own_files() == []


@pytest.mark.parametrize("state", list(Versioning))
@pytest.mark.parametrize("size", SIZES)
async def test_a_copy_onto_itself_changes_metadata_only(
    opened: Opened, size: int, state: Versioning
) -> None:
    """The usual way to change metadata: the bytes survive it, also twice and after freeing."""
    await opened.put(b"k", body(size))
    if state != Versioning.UNVERSIONED:
        await opened.set_versioning(state)
    for value in "ab":
        new = NewObject(owner=OWNER, writer=WRITER, user_metadata=(("v", value),))
        await copy(opened, b"k", b"k", new=new)
        await opened.free_all()
        assert await opened.read(b"k") == body(size)
        assert (await opened.get(b"k")).detail.user_metadata == (("v", value),)
    assert len(opened.own_files()) == (size == OWN_FILE)
    if state != Versioning.ENABLED:
        return
    assert await opened.read(b"k", "null") == body(size)
    assert (await opened.store.buckets.usage(opened.bucket)).objects == 3


@pytest.mark.parametrize("size", SIZES)
async def test_a_source_deleted_at_the_same_time_is_copied_whole_or_not(
    opened: Opened, size: int
) -> None:
    """Either there is a whole copy, or the copier learns that the source is gone."""
    for lap in range(5):
        source, key = b"s%d" % lap, b"c%d" % lap
        await opened.put(source, body(size, lap))
        copying = asyncio.create_task(copy(opened, source, key))
        for _ in range(lap * 2):
            await asyncio.sleep(0)
        _, outcome = await asyncio.gather(opened.delete(source), copying, return_exceptions=True)
        await opened.free_all()
        assert await opened.read(source) is None
        if isinstance(outcome, Stored):
            assert await opened.read(key) == body(size, lap)
        else:
            assert isinstance(outcome, (VersionMissing, EngineError))
            assert await opened.read(key) is None
    copies = [lap for lap in range(5) if await opened.find(b"c%d" % lap)]
    assert len(opened.own_files()) == (len(copies) if size == OWN_FILE else 0)


async def test_a_source_that_went_before_is_missing(opened: Opened) -> None:
    """The copier holds an old record: a large one can't be shared any more."""
    await opened.put(b"s", body(OWN_FILE))
    record = await opened.get(b"s")
    await opened.delete(b"s")
    with pytest.raises(VersionMissing):
        await opened.store.copies.copy(opened.bucket, b"s", record, opened.bucket, b"c", NEW)
    assert await opened.read(b"c") is None


async def test_a_source_retagged_at_the_same_time_is_still_copied(opened: Opened) -> None:
    """Tags move the row under the copier; the copy is made of the same version all the same."""
    await opened.put(b"s", body(OWN_FILE))
    record = await opened.get(b"s")
    await opened.store.versions.change(
        opened.bucket, b"s", None, lambda detail: replace(detail, tags=(("t", "v"),))
    )
    await opened.store.copies.copy(opened.bucket, b"s", record, opened.bucket, b"c", NEW)
    assert await opened.read(b"c") == body(OWN_FILE)


@pytest.mark.parametrize("size", SIZES)
async def test_copies_of_one_source_at_once_are_all_whole(opened: Opened, size: int) -> None:
    """Twenty copiers share one file, and it goes with the last of them."""
    await opened.put(b"s", body(size))
    await asyncio.gather(*(copy(opened, b"s", b"c%d" % n) for n in range(20)))
    assert len(opened.own_files()) == (size == OWN_FILE)
    await opened.delete(b"s")
    await opened.free_all()
    for n in range(20):
        assert await opened.read(b"c%d" % n) == body(size)
        await opened.delete(b"c%d" % n)
    await opened.free_all()
    assert opened.own_files() == []


@pytest.mark.parametrize("size", SIZES)
async def test_another_tenant_gets_bytes_of_its_own(opened: Opened, size: int) -> None:
    """Nothing is shared across tenants: other key, other blob, other folder, other ciphertext."""
    tenant = await ensure_tenant(opened.store.identity, "other tenant")
    other = await opened.another("other", tenant)
    await opened.put(b"s", body(size))
    await copy(opened, b"s", b"c", to=other)
    source, made = await opened.get(b"s"), await opened.get(b"c", bucket=other)
    assert source.detail.body is not None
    assert made.detail.body is not None
    mine = {extent.blob_id for extent in source.detail.body.extents}
    theirs = {extent.blob_id for extent in made.detail.body.extents}
    assert mine.isdisjoint(theirs)
    files = opened.own_files()
    assert len(files) == (2 if size == OWN_FILE else 0)
    folders = {path.relative_to(opened.folder / "objects").parts[0] for path in files}
    assert folders <= {opened.tenant.tenant_id.hex(), tenant.tenant_id.hex()}
    if len(files) == 2:
        assert files[0].read_bytes()[4096:8192] != files[1].read_bytes()[4096:8192]
    await opened.delete(b"s")
    await opened.free_all()
    assert await opened.read(b"c", bucket=other) == body(size)


async def test_an_old_version_and_a_multipart_object_are_copied(opened: Opened) -> None:
    """What is copied is the version that was named, manifests included."""
    await opened.set_versioning(Versioning.ENABLED)
    old = await opened.put(b"k", body(OWN_FILE, 1))
    await opened.put(b"k", b"new")
    await copy(opened, b"k", b"old", version_id=old.version_id)
    assert await opened.read(b"old") == body(OWN_FILE, 1)
    upload = await opened.begin(b"m")
    parts = [await opened.put_part(upload, n, body(PART, n)) for n in range(1, 10)]
    stored = await opened.complete(upload, parts)
    before = len(opened.own_files())
    await copy(opened, b"m", b"m2")
    assert len(opened.own_files()) == before
    await opened.delete(b"m", stored.version_id)
    await opened.free_all()
    assert await opened.read(b"m2") == b"".join(body(PART, n) for n in range(1, 10))
    record = await opened.get(b"m2")
    assert record.detail.parts_count == 9
    await opened.delete(b"m2", record.version_id)
    await opened.delete(b"old", (await opened.get(b"old")).version_id)
    await opened.delete(b"k", old.version_id)
    await opened.free_all()
    assert opened.own_files() == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_refused_copy_leaves_nothing(opened: Opened, size: int) -> None:
    """The source is as it was and frees its bytes as if nobody had tried."""
    await opened.put(b"s", body(size))
    await opened.put(b"c", b"there")
    for _ in range(2):
        with pytest.raises(ConditionFailed):
            await copy(opened, b"s", b"c", condition=WriteCondition(absent=True))
    assert await opened.read(b"c") == b"there"
    assert await opened.read(b"s") == body(size)
    await opened.delete(b"s")
    await opened.free_all()
    assert opened.own_files() == []


# --- Renames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_rename_moves_and_replaces(opened: Opened, size: int) -> None:
    """The object is under its new name only; what was there is gone, bytes too."""
    await opened.put(b"a", body(size, 1))
    await opened.put(b"b", body(size, 2))
    before = await opened.get(b"a")
    stored = await rename(opened, b"a", b"b")
    assert stored.etag == before.etag
    assert await opened.read(b"a") is None
    assert await opened.read(b"b") == body(size, 1)
    assert (await opened.get(b"b")).order == before.order
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.keys, usage.objects, usage.object_bytes) == (1, 1, size)
    await opened.free_all()
    await opened.reopen()
    assert await opened.read(b"b") == body(size, 1)
    assert len(opened.own_files()) == (size == OWN_FILE)


async def test_a_rename_onto_itself_changes_nothing(opened: Opened) -> None:
    """The object and its counters stay."""
    await opened.put(b"a", body(OWN_FILE))
    before = await opened.get(b"a")
    await rename(opened, b"a", b"a")
    assert await opened.get(b"a") == before
    await opened.free_all()
    assert await opened.read(b"a") == body(OWN_FILE)


async def test_a_rename_obeys_conditions_on_both_ends(opened: Opened) -> None:
    """Each end may refuse; then nothing moves."""
    a = await opened.put(b"a", b"1")
    await opened.put(b"b", b"2")
    right, wrong = WriteCondition(match=a.etag), WriteCondition(match="x")
    with pytest.raises(ConditionFailed):
        await rename(opened, b"a", b"b", source_condition=wrong)
    with pytest.raises(ConditionFailed):
        await rename(opened, b"a", b"b", condition=WriteCondition(absent=True))
    with pytest.raises(KeyMissing):
        await rename(opened, b"none", b"b")
    assert (await opened.read(b"a"), await opened.read(b"b")) == (b"1", b"2")
    await rename(opened, b"a", b"c", source_condition=right, condition=WriteCondition(absent=True))
    assert (await opened.read(b"a"), await opened.read(b"c")) == (None, b"1")


async def test_s58_renames_of_one_source_have_one_winner(opened: Opened) -> None:
    """S58: twenty clients move one object; it is under exactly one of the names."""
    await opened.put(b"a", body(OWN_FILE))
    outcomes = await asyncio.gather(
        *(rename(opened, b"a", b"to%d" % n) for n in range(20)), return_exceptions=True
    )
    won = [n for n, one in enumerate(outcomes) if isinstance(one, Stored)]
    assert len(won) == 1
    found = [n for n in range(20) if await opened.read(b"to%d" % n) == body(OWN_FILE)]
    assert found == won


@pytest.mark.parametrize("state", [Versioning.ENABLED, Versioning.SUSPENDED])
async def test_versions_are_not_renamed(opened: Opened, state: Versioning) -> None:
    """In a bucket with versions a rename is not defined."""
    await opened.put(b"a", b"1")
    await opened.set_versioning(state)
    with pytest.raises(VersioningForbids):
        await rename(opened, b"a", b"b")
    assert await opened.read(b"a") == b"1"
