"""Multipart uploads: one end each, whatever comes at once, and nothing staged is ever lost."""

import asyncio
from collections.abc import Sequence

import pytest

from storage_server.core import limits
from storage_server.core.ids import UploadId
from storage_server.engine import uploads as upload_rules
from storage_server.engine.errors import (
    ConditionFailed,
    EngineError,
    KeyMissing,
    PartInvalid,
    PartTooSmall,
    UploadMissing,
)
from storage_server.engine.records import (
    Checksum,
    CompletedPart,
    NewObject,
    Stored,
    UploadPage,
    UploadRecord,
    Versioning,
    WriteCondition,
)
from tests.engine.opened import OWNER, PART, WRITER, Opened, body, facts

TAIL = 1000


async def upload_of(
    opened: Opened, key: bytes, sizes: Sequence[int]
) -> tuple[UploadRecord, list[CompletedPart], bytes]:
    """Begin an upload and put all its parts; return the whole body too."""
    upload = await opened.begin(key)
    bodies = [body(size, n) for n, size in enumerate(sizes)]
    parts = [await opened.put_part(upload, n, one) for n, one in enumerate(bodies, 1)]
    return upload, parts, b"".join(bodies)


# --- Completing ------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[0], [10], [40_000], [PART, 0], [PART, 1], [PART] * 3 + [7]])
async def test_parts_become_one_object(opened: Opened, sizes: list[int]) -> None:
    """The object is its parts in order, and the upload is gone."""
    upload, parts, content = await upload_of(opened, b"k", sizes)
    stored = await opened.complete(upload, parts)
    assert stored.size_bytes == len(content)
    assert await opened.read(b"k") == content
    record = await opened.get(b"k")
    assert record.detail.parts_count == len(sizes)
    assert record.etag.endswith(f"-{len(sizes)}")
    for offset, length in ((0, 5), (max(0, len(content) - 5), 5), (PART - 2, 4)):
        if offset + length <= len(content):
            reader = await opened.store.versions.open(opened.bucket, b"k", record, offset, length)
            assert reader.whole == content[offset : offset + length]
    with pytest.raises(UploadMissing):
        await opened.store.uploads.get(opened.bucket, b"k", upload.upload_id)
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.uploads, usage.parts, usage.part_bytes) == (0, 0, 0)
    assert usage.object_bytes == len(content)
    await opened.free_all()
    assert await opened.read(b"k") == content


async def test_twelve_large_parts_make_a_manifest(opened: Opened) -> None:
    """More extents than a record holds: ranges cross parts, restarts and frees change nothing."""
    sizes = [PART] * 11 + [12_345]
    upload, parts, content = await upload_of(opened, b"k", sizes)
    await opened.put_part(upload, 12, body(12_345, 11))
    await opened.complete(upload, parts)
    await opened.free_all()
    await opened.reopen()
    record = await opened.get(b"k")
    assert record.detail.body is not None
    assert record.detail.body.manifest is not None
    assert record.size_bytes == len(content)
    for offset, length in ((0, 10), (PART - 5, 10), (PART * 8 - 1, 2), (len(content) - 9, 9)):
        reader = await opened.store.versions.open(opened.bucket, b"k", record, offset, length)
        assert reader.whole == content[offset : offset + length]
    assert await opened.read(b"k") == content
    await opened.delete(b"k")
    await opened.free_all()
    assert opened.own_files() == []


async def test_what_was_said_at_the_beginning_is_carried_to_the_object(opened: Opened) -> None:
    """Headers, metadata, tags and class come from Create; the writer from Complete."""
    new = NewObject(
        owner=OWNER,
        writer=WRITER,
        storage_class="STANDARD_IA",
        headers=(("cache-control", "no-store"),),
        user_metadata=(("a", "b"),),
        tags=(("t", "v"),),
    )
    upload = await opened.begin(b"k", new)
    await opened.complete(upload, [await opened.put_part(upload, 1, b"x")])
    record = await opened.get(b"k")
    assert record.storage_class == "STANDARD_IA"
    assert record.detail.headers == new.headers
    assert (record.detail.user_metadata, record.detail.tags) == (new.user_metadata, new.tags)


async def test_parts_may_be_left_out_and_have_gaps(opened: Opened) -> None:
    """Only named parts are in the object; the others' bytes are freed."""
    upload = await opened.begin(b"k")
    for number in (3, 10_000, 7):
        await opened.put_part(upload, number, body(PART, number))
    first, last = [CompletedPart(n, _etag(body(PART, n))) for n in (3, 10_000)]
    await opened.complete(upload, [first, last])
    assert await opened.read(b"k") == body(PART, 3) + body(PART, 10_000)
    assert len(opened.own_files()) == 3
    await opened.free_all()
    assert len(opened.own_files()) == 2
    assert await opened.read(b"k") == body(PART, 3) + body(PART, 10_000)


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ([(1, "right"), (2, "wrong")], PartInvalid),
        ([(1, "right"), (3, "right")], PartInvalid),
        ([(2, "right"), (1, "right")], PartTooSmall),
    ],
)
async def test_what_does_not_fit_is_refused_and_changes_nothing(
    opened: Opened, named: list[tuple[int, str]], error: type[EngineError]
) -> None:
    """After any refusal the upload goes on and completes."""
    upload, parts, content = await upload_of(opened, b"k", [PART, TAIL])
    etags = {part.part_number: part.etag for part in parts}
    with pytest.raises(error):
        await opened.complete(
            upload,
            [
                CompletedPart(n, etags.get(n, "") if which == "right" else "0" * 32)
                for n, which in named
            ],
        )
    checksum = Checksum("CRC32", b"none")
    with pytest.raises(PartInvalid):
        await opened.complete(upload, [CompletedPart(1, parts[0].etag, checksum)])
    await opened.put(b"k", b"there")
    with pytest.raises(ConditionFailed):
        await opened.complete(upload, parts, WriteCondition(absent=True))
    assert await opened.read(b"k") == b"there"
    await opened.complete(upload, parts)
    assert await opened.read(b"k") == content


@pytest.mark.parametrize("size", [limits.PART_BYTES_MIN - 1, limits.PART_BYTES_MIN])
async def test_five_mebibytes_is_the_smallest_part_but_the_last(opened: Opened, size: int) -> None:
    """One byte less is refused, with the part's number and size."""
    upload, parts, content = await upload_of(opened, b"k", [size, TAIL])
    if size >= limits.PART_BYTES_MIN:
        await opened.complete(upload, parts)
        assert await opened.read(b"k") == content
        return
    with pytest.raises(PartTooSmall) as refused:
        await opened.complete(upload, parts)
    assert (refused.value.part_number, refused.value.size_bytes) == (1, size)
    assert await opened.read(b"k") is None


# --- Repeating -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(Versioning))
@pytest.mark.parametrize("meanwhile", ["nothing", "overwritten", "deleted", "restarted"])
async def test_a_repeated_complete_answers_the_same_and_changes_nothing(
    opened: Opened, meanwhile: str, state: Versioning
) -> None:
    """A client that lost the answer asks again, whatever became of the object."""
    if state != Versioning.UNVERSIONED:
        await opened.set_versioning(state)
    upload, parts, content = await upload_of(opened, b"k", [PART, TAIL])
    first = await opened.complete(upload, parts)
    wanted: bytes | None = content
    if meanwhile == "overwritten":
        wanted = b"newer"
        await opened.put(b"k", wanted)
    elif meanwhile == "deleted":
        wanted = None
        await opened.delete(b"k")
    elif meanwhile == "restarted":
        await opened.free_all()
        await opened.reopen()
    before = await opened.store.buckets.usage(opened.bucket)
    again = await opened.complete(upload, parts)
    assert (again.etag, again.version_id, again.size_bytes, again.modified_us) == (
        first.etag,
        first.version_id,
        first.size_bytes,
        first.modified_us,
    )
    assert await opened.read(b"k") == wanted
    assert await opened.store.buckets.usage(opened.bucket) == before
    with pytest.raises(UploadMissing):
        await opened.complete(upload, parts[:1])
    with pytest.raises(UploadMissing):
        await opened.store.uploads.abort(opened.bucket, b"k", upload.upload_id)


async def test_a_kept_result_goes_after_seven_days(opened: Opened) -> None:
    """Then the upload is as if it had never been."""
    upload, parts, content = await upload_of(opened, b"k", [TAIL])
    await opened.complete(upload, parts)
    opened.clock.advance(us=limits.UPLOAD_RESULT_KEPT_US + 1_000_000)
    await opened.store.freeing.run_all()
    with pytest.raises(UploadMissing):
        await opened.complete(upload, parts)
    assert await opened.read(b"k") == content


# --- Races -----------------------------------------------------------------------------------


async def test_s58_of_completes_and_aborts_one_kind_wins(opened: Opened) -> None:
    """S58: either the object is there or the upload was aborted, never both, never neither."""
    for lap in range(8):
        key = b"k%d" % lap
        upload, parts, content = await upload_of(opened, key, [TAIL])
        complete = [opened.complete(upload, parts) for _ in range(2)]
        abort = [opened.store.uploads.abort(opened.bucket, key, upload.upload_id)]
        order = [*abort, *complete] if lap % 2 else [*complete, *abort]
        outcomes = await asyncio.gather(*order, return_exceptions=True)
        completed = [one for one in outcomes if isinstance(one, Stored)]
        aborted = [one for one in outcomes if one is None]
        assert bool(completed) != bool(aborted)
        assert all(
            isinstance(one, UploadMissing) for one in outcomes if isinstance(one, BaseException)
        )
        assert await opened.read(key) == (content if completed else None)
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.uploads, usage.parts, usage.part_bytes) == (0, 0, 0)


@pytest.mark.parametrize("state", list(Versioning))
@pytest.mark.parametrize("parts_count", [2, 9])
async def test_s58_completes_at_once_have_one_winner_and_one_answer(
    opened: Opened, state: Versioning, parts_count: int
) -> None:
    """S58: one version comes of many equal Completes, and all of them are told of it."""
    if state != Versioning.UNVERSIONED:
        await opened.set_versioning(state)
    sizes = [PART] * (parts_count - 1) + [TAIL]
    upload, parts, content = await upload_of(opened, b"k", sizes)
    answers = await asyncio.gather(*(opened.complete(upload, parts) for _ in range(6)))
    assert len({(one.etag, one.version_id, one.modified_us) for one in answers}) == 1
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.keys, usage.object_bytes) == (1, 1, len(content))
    await opened.free_all()
    assert await opened.read(b"k") == content
    assert len(opened.own_files()) == parts_count - 1


async def test_s58_different_completes_at_once_have_one_winner(opened: Opened) -> None:
    """S58: the object is one of the two lists of parts, and the other asker is refused."""
    for lap in range(4):
        key = b"k%d" % lap
        upload = await opened.begin(key)
        parts = [await opened.put_part(upload, n, body(TAIL, n)) for n in (1, 2)]
        outcomes = await asyncio.gather(
            opened.complete(upload, parts[:1]),
            opened.complete(upload, parts[1:]),
            return_exceptions=True,
        )
        won = [n for n, one in enumerate(outcomes, 1) if isinstance(one, Stored)]
        assert len(won) == 1
        assert sum(isinstance(one, UploadMissing) for one in outcomes) == 1
        await opened.free_all()
        assert await opened.read(key) == body(TAIL, won[0])


@pytest.mark.parametrize("size", [TAIL, PART])
async def test_s58_a_part_replaced_while_completing_is_old_or_new(
    opened: Opened, size: int
) -> None:
    """S58: the object is made of parts that were there together; later parts are refused."""
    for lap in range(6):
        key = b"k%d" % lap
        upload = await opened.begin(key)
        old = await opened.put_part(upload, 1, body(size, 1))
        outcomes = await asyncio.gather(
            *([opened.put_part(upload, 1, body(size, 2))] if lap % 2 else []),
            opened.complete(upload, [old]),
            *([] if lap % 2 else [opened.put_part(upload, 1, body(size, 2))]),
            return_exceptions=True,
        )
        completed = [one for one in outcomes if isinstance(one, Stored)]
        await opened.free_all()
        if completed:
            assert await opened.read(key) == body(size, 1)
        else:
            assert any(isinstance(one, PartInvalid) for one in outcomes)
            assert await opened.read(key) is None
            page = await opened.store.uploads.parts(
                opened.bucket, key, upload.upload_id, after=0, limit=10
            )
            await opened.complete(upload, [CompletedPart(1, page.parts[0].etag)])
            assert await opened.read(key) == body(size, 2)
    await opened.free_all()
    assert len(opened.own_files()) == (6 if size == PART else 0)


async def test_parts_put_at_once_are_all_there(opened: Opened) -> None:
    """Many parts and many of one number: each number has one part, counted once."""
    upload = await opened.begin(b"k")
    await asyncio.gather(
        *(opened.put_part(upload, n, body(2000, n)) for n in range(1, 21)),
        *(opened.put_part(upload, 21, body(1000 + n, n)) for n in range(10)),
    )
    page = await opened.store.uploads.parts(
        opened.bucket, b"k", upload.upload_id, after=0, limit=100
    )
    assert [part.part_number for part in page.parts] == list(range(1, 22))
    usage = await opened.store.buckets.usage(opened.bucket)
    assert usage.parts == 21
    assert usage.part_bytes == sum(part.size_bytes for part in page.parts)
    assert (page.upload.parts, page.upload.part_bytes) == (21, usage.part_bytes)


# --- Ended and unknown uploads ---------------------------------------------------------------


async def test_an_aborted_upload_takes_nothing_more(opened: Opened) -> None:
    """A part on its way when the upload ended is given back, and every byte is freed."""
    upload = await opened.begin(b"k")
    part = await opened.put_part(upload, 1, body(PART))
    stage = await opened.store.uploads.stage_part(
        opened.bucket, b"k", upload.upload_id, 2, size_hint=PART
    )
    await stage.write(body(PART, 2))
    await opened.store.uploads.abort(opened.bucket, b"k", upload.upload_id)
    with pytest.raises(UploadMissing):
        await opened.store.uploads.put_part(
            opened.bucket, b"k", upload.upload_id, 2, stage, facts(body(PART, 2)), WRITER
        )
    for work in (
        opened.complete(upload, [part]),
        opened.put_part(upload, 3, b"x"),
        opened.store.uploads.abort(opened.bucket, b"k", upload.upload_id),
        opened.store.uploads.parts(opened.bucket, b"k", upload.upload_id, after=0, limit=1),
    ):
        with pytest.raises(UploadMissing):
            await work
    await opened.free_all()
    assert opened.own_files() == []
    assert await opened.read(b"k") is None


@pytest.mark.parametrize("upload_id", ["", "x", "null", "0" * 32, "é" * 32, "0" * 31, "0" * 33])
async def test_an_unknown_id_is_no_upload(opened: Opened, upload_id: str) -> None:
    """Whatever a client sends as an id, the answer is that there is no such upload."""
    await opened.begin(b"k")
    uploads = opened.store.uploads
    for work in (
        uploads.get(opened.bucket, b"k", upload_id),
        uploads.abort(opened.bucket, b"k", upload_id),
        uploads.parts(opened.bucket, b"k", upload_id, after=0, limit=1),
        uploads.stage_part(opened.bucket, b"k", upload_id, 1, size_hint=1),
    ):
        with pytest.raises(UploadMissing):
            await work


async def test_an_upload_belongs_to_its_key_and_bucket(opened: Opened) -> None:
    """The right id under another key or bucket is no upload."""
    upload = await opened.begin(b"k")
    other = await opened.another("other")
    with pytest.raises(UploadMissing):
        await opened.store.uploads.get(opened.bucket, b"k2", upload.upload_id)
    with pytest.raises(UploadMissing):
        await opened.store.uploads.get(other, b"k", upload.upload_id)


async def test_a_condition_holds_when_completing(opened: Opened) -> None:
    """Of two uploads that want to create the key one does; the other stays and can go on."""
    made = [await upload_of(opened, b"k", [TAIL + n]) for n in range(2)]
    outcomes = await asyncio.gather(
        *(opened.complete(one, parts, WriteCondition(absent=True)) for one, parts, _ in made),
        return_exceptions=True,
    )
    won = [n for n, one in enumerate(outcomes) if isinstance(one, Stored)]
    assert len(won) == 1
    assert sum(isinstance(one, ConditionFailed) for one in outcomes) == 1
    assert await opened.read(b"k") == made[won[0]][2]
    lost = made[1 - won[0]]
    await opened.delete(b"k")
    with pytest.raises(KeyMissing):
        await opened.complete(lost[0], lost[1], WriteCondition(match="*"))
    await opened.complete(lost[0], lost[1])
    assert await opened.read(b"k") == lost[2]


# --- Lists -----------------------------------------------------------------------------------


async def _page(opened: Opened, **choice: object) -> UploadPage:
    wanted: dict[str, object] = {
        "prefix": b"",
        "delimiter": b"",
        "key_marker": b"",
        "upload_id_marker": "",
        "limit": 1000,
    } | choice
    return await opened.store.uploads.list(opened.bucket, **wanted)  # type: ignore[arg-type]


async def test_uploads_are_listed_by_key_and_then_by_age(opened: Opened) -> None:
    """With every marker, at every page length, each upload comes once and in order."""
    keys = [b"a", b"a/b", b"a/b", b"a/b", b"a/c", b"b", b"b\x00", b"c/d"]
    begun = [await opened.begin(key) for key in keys]
    done = await opened.begin(b"a/b")
    await opened.complete(done, [await opened.put_part(done, 1, b"x")])
    gone = await opened.begin(b"a")
    await opened.store.uploads.abort(opened.bucket, b"a", gone.upload_id)
    wanted = [(one.key, one.upload_id) for one in begun]
    for limit in range(1, 10):
        got: list[tuple[bytes, str]] = []
        marker: tuple[bytes, str] = (b"", "")
        while True:
            page = await _page(
                opened, key_marker=marker[0], upload_id_marker=marker[1], limit=limit
            )
            assert len(page.uploads) <= limit
            got += [(one.key, one.upload_id) for one in page.uploads]
            if not page.truncated:
                break
            marker = (page.next_key, page.next_upload_id)
        assert got == wanted
    alone = await _page(opened, key_marker=b"a/b")
    assert [one.key for one in alone.uploads] == keys[4:]
    inside = await _page(opened, key_marker=b"a/b", upload_id_marker=begun[1].upload_id)
    assert [one.upload_id for one in inside.uploads] == [one.upload_id for one in begun[2:]]
    nothing = await _page(opened, upload_id_marker=begun[3].upload_id)
    assert len(nothing.uploads) == len(wanted)
    assert [one.key for one in (await _page(opened, prefix=b"a/")).uploads] == keys[1:5]
    assert (await _page(opened, limit=0)).uploads == []


async def test_uploads_fold_at_a_delimiter(opened: Opened) -> None:
    """Prefixes and uploads share the page's limit; a folded prefix is passed over whole."""
    for key in (b"a", b"a/b", b"a/c", b"b", b"c/d", b"c/e"):
        await opened.begin(key)
    page = await _page(opened, delimiter=b"/")
    assert [one.key for one in page.uploads] == [b"a", b"b"]
    assert page.prefixes == [b"a/", b"c/"]
    entries: list[bytes] = []
    marker = (b"", "")
    for _ in range(4):
        page = await _page(
            opened, delimiter=b"/", limit=1, key_marker=marker[0], upload_id_marker=marker[1]
        )
        entries += [one.key for one in page.uploads] + page.prefixes
        marker = (page.next_key, page.next_upload_id)
    assert entries == [b"a", b"a/", b"b", b"c/"]
    assert not page.truncated


async def test_many_kept_results_do_not_hide_the_uploads_behind_them(opened: Opened) -> None:
    """A page is filled with uploads in progress, however many results lie between."""
    for _ in range(12):
        done = await opened.begin(b"a")
        await opened.complete(done, [await opened.put_part(done, 1, b"x")])
    waiting = await opened.begin(b"b")
    page = await _page(opened, limit=2)
    assert [one.upload_id for one in page.uploads] == [waiting.upload_id]
    assert not page.truncated


async def test_parts_are_listed_by_number(opened: Opened) -> None:
    """With a marker, a limit, and none at all."""
    upload = await opened.begin(b"k")
    numbers = [10_000, 3, 1, 256, 255, 9_999]
    for number in numbers:
        await opened.put_part(upload, number, body(10, number))

    async def page(after: int, limit: int) -> tuple[list[int], bool, int]:
        found = await opened.store.uploads.parts(
            opened.bucket, b"k", upload.upload_id, after=after, limit=limit
        )
        return [one.part_number for one in found.parts], found.truncated, found.next_part_number

    ordered = sorted(numbers)
    assert await page(0, 1000) == (ordered, False, 10_000)
    assert await page(0, 6) == (ordered, False, 10_000)
    assert await page(0, 5) == (ordered[:5], True, 9_999)
    assert await page(255, 2) == ([256, 9_999], True, 9_999)
    assert await page(10_000, 2) == ([], False, 10_000)
    assert (await page(0, 0))[0] == []


# --- Many parts ------------------------------------------------------------------------------


def test_the_bitmap_of_used_parts_is_exact() -> None:
    """Each used part is marked and no other, up to the last number there is."""
    used = {1, 8, 9, 255, 256, 9_999, 10_000}
    bitmap = upload_rules._bitmap(used)
    assert len(bitmap) <= 1251
    marked = {n for n in range(1, 10_001) if upload_rules.is_used(bitmap, n)}
    assert marked == used
    everything = upload_rules._bitmap(range(1, 10_001))
    assert all(upload_rules.is_used(everything, n) for n in range(1, 10_001))
    assert not upload_rules.is_used(b"", 1)


async def test_a_thousand_staged_parts_are_listed_and_abandoned(opened: Opened) -> None:
    """They fill one page; Abort takes one commit, and the job clears the rows."""
    upload = await opened.begin(b"k")
    for start in range(1, 1001, 100):
        await asyncio.gather(
            *(opened.put_part(upload, n, body(8, n)) for n in range(start * 10, start * 10 + 100))
        )
    usage = await opened.store.buckets.usage(opened.bucket)
    assert usage.parts == 1000
    page = await opened.store.uploads.parts(
        opened.bucket, b"k", upload.upload_id, after=0, limit=1000
    )
    assert (len(page.parts), page.truncated) == (1000, False)
    await opened.store.uploads.abort(opened.bucket, b"k", upload.upload_id)
    after = await opened.store.buckets.usage(opened.bucket)
    assert (after.parts, after.part_bytes, after.uploads) == (0, 0, 0)
    await opened.free_all()
    await opened.store.buckets.delete(opened.bucket)
    while await opened.store.freeing.drop_closed():
        pass


async def test_an_id_of_another_upload_of_the_key_is_another_upload(opened: Opened) -> None:
    """Two uploads of one key do not see each other's parts."""
    first, second = await opened.begin(b"k"), await opened.begin(b"k")
    part = await opened.put_part(first, 1, b"first")
    with pytest.raises(PartInvalid):
        await opened.complete(second, [part])
    await opened.put_part(second, 1, b"second")
    await opened.complete(first, [part])
    assert await opened.read(b"k") == b"first"
    assert (await opened.store.uploads.get(opened.bucket, b"k", UploadId(second.upload_id))).parts


def _etag(content: bytes) -> str:
    return facts(content).etag
