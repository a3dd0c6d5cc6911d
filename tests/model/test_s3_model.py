"""Random histories on a real server must look exactly like the same history in memory."""

import base64
import hashlib
from typing import cast
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.model.s3_model import BucketModel, Tags, Upload, Version, etag_of
from tests.servers import HOST, IS_LONG, Server, fresh_name
from tests.signing import Headers, Keys
from tests.wire import Answer, S3Wire, path_of

KEYS = st.sampled_from(["a", "a/", "a/b", "a//b", "a/b/c", "b", "b/\u00e9", "c d", "\U0001f600"])
BODIES = st.sampled_from([b"", b"1", b"22", b"x" * 700, b"y" * 70_000, b"z" * 1_100_000])
METADATA = st.sampled_from(["", "one", "two"])
TAGS: st.SearchStrategy[Tags] = st.sampled_from([(), (("a", "1"),), (("a", "2"), ("b", ""))])
CONDITIONS = st.sampled_from(["none", "none", "absent", "match", "mismatch"])
WRONG = '"00000000000000000000000000000000"'
PAGE = 2


class History(RuleBasedStateMachine):
    """Does each step on the server and in the model; compares the whole bucket after each."""

    def __init__(self, server: Server, keys: Keys) -> None:
        """Make a bucket of this history's own."""
        super().__init__()
        self.wire = S3Wire(HOST, server.port, keys)
        self.bucket = fresh_name("model")
        self.model = BucketModel()
        self.touched = ""
        assert self.wire.call("PUT", f"/{self.bucket}").status == 200

    def teardown(self) -> None:
        """Close the connection."""
        self.wire.close()

    def target(self, key: str, query: str = "") -> str:
        """Return the target of a key; what is read back after the step is this key."""
        self.touched = key
        return path_of(self.bucket, key) + (f"?{query}" if query else "")

    def given_id(self, answer: Answer) -> str:
        """Return the version id that a write told, checked against the bucket's state."""
        told = answer.header("x-amz-version-id")
        if self.model.status == "Enabled":
            assert told not in {"", "null"}
            return told
        assert told in ({"null"} if self.model.status else {"", "null"})
        return "null"

    def condition(self, kind: str, key: str) -> tuple[Headers, set[int]]:
        """Return headers of a condition, and the statuses to expect of a write."""
        current = self.model.current(key)
        if kind == "absent":
            return [("If-None-Match", "*")], {412} if current else {200}
        if kind == "match":
            return [("If-Match", current.etag if current else WRONG)], ({200} if current else {404})
        if kind == "mismatch":
            return [("If-Match", WRONG)], {412} if current else {404}
        return [], {200}

    @rule(key=KEYS, body=BODIES, metadata=METADATA, tags=TAGS, kind=CONDITIONS)
    def put(self, key: str, body: bytes, metadata: str, tags: Tags, kind: str) -> None:
        """PutObject, perhaps under a condition."""
        headers, statuses = self.condition(kind, key)
        if metadata:
            headers.append(("x-amz-meta-m", metadata))
        if tags:
            headers.append(("x-amz-tagging", "&".join(f"{k}={v}" for k, v in tags)))
        answer = self.wire.call("PUT", self.target(key), headers, body)
        assert answer.status in statuses, answer
        if answer.status == 200:
            etag = etag_of(body)
            assert answer.header("ETag") == etag
            version = Version(self.given_id(answer), body, etag, metadata, tags)
            self.model.add(key, version)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """DeleteObject without a version id."""
        answer = self.wire.call("DELETE", self.target(key))
        assert answer.status == 204
        if self.model.status:
            assert answer.header("x-amz-delete-marker") == "true"
            self.model.add(key, Version(self.given_id(answer), None))
        else:
            self.model.drop(key, "null")

    @rule(data=st.data())
    def delete_version(self, data: st.DataObject) -> None:
        """DeleteObject of a version that exists."""
        rows = self.model.versions()
        if not rows:
            return
        key, version_id, _, is_marker = data.draw(st.sampled_from(rows))
        answer = self.wire.call("DELETE", self.target(key, f"versionId={version_id}"))
        assert answer.status == 204
        assert answer.header("x-amz-delete-marker") == ("true" if is_marker else "")
        self.model.drop(key, version_id)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True))
    def delete_many(self, keys: list[str]) -> None:
        """DeleteObjects of several keys."""
        rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete>{rows}</Delete>".encode()
        headers = [("Content-MD5", _md5(body))]
        root = self.wire.call("POST", f"/{self.bucket}?delete", headers, body).xml
        told = {row.findtext("Key") or "": row for row in root.findall("Deleted")}
        assert sorted(told) == sorted(keys)
        for key in keys:
            if self.model.status:
                version_id = told[key].findtext("DeleteMarkerVersionId") or "null"
                assert (version_id == "null") == (self.model.status == "Suspended")
                self.model.add(key, Version(version_id, None))
            else:
                self.model.drop(key, "null")

    @rule(status=st.sampled_from(["Enabled", "Suspended"]))
    def set_versioning(self, status: str) -> None:
        """PutBucketVersioning."""
        body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
        answer = self.wire.call("PUT", f"/{self.bucket}?versioning", body=body.encode())
        assert answer.status == 200
        self.model.status = status

    @rule(source=KEYS, key=KEYS, data=st.data(), kind=CONDITIONS)
    def copy(self, source: str, key: str, data: st.DataObject, kind: str) -> None:
        """CopyObject of the current or of any version."""
        versions = self.model.keys.get(source, [])
        wanted = data.draw(st.sampled_from([None, *versions]))
        found = wanted or self.model.current(source)
        if source == key and wanted is None:
            return
        text = f"/{self.bucket}/{quote(source)}"
        if wanted:
            text += f"?versionId={wanted.version_id}"
        headers, statuses = self.condition(kind, key)
        if found is None:
            statuses = {404}
        elif found.is_marker:
            statuses = {400}
        answer = self.wire.call("PUT", self.target(key), [*headers, ("x-amz-copy-source", text)])
        if source == key and answer.status == 400:
            return
        assert answer.status in statuses or (kind != "none" and answer.status >= 400), answer
        if answer.status == 200:
            assert found
            body = found.body or b""
            etag = answer.xml.findtext("ETag") or ""
            assert etag in {found.etag, etag_of(body)}
            new = Version(self.given_id(answer), body, etag, found.metadata, found.tags)
            self.model.add(key, new)

    @rule(data=st.data(), tags=TAGS)
    def tag(self, data: st.DataObject, tags: Tags) -> None:
        """PutObjectTagging or DeleteObjectTagging of any version."""
        rows = [row for row in self.model.versions() if not row[3]]
        if not rows:
            return
        key, version_id, _, _ = data.draw(st.sampled_from(rows))
        version = self.model.find(key, version_id)
        assert version
        inner = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in tags)
        body = f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode() if tags else b""
        method, status = ("PUT", 200) if tags else ("DELETE", 204)
        answer = self.wire.call(
            method, self.target(key, f"tagging&versionId={version_id}"), body=body
        )
        assert answer.status == status, answer
        self.model.replace(
            key, Version(version_id, version.body, version.etag, version.metadata, tags)
        )

    @rule(key=KEYS, metadata=METADATA)
    def create_upload(self, key: str, metadata: str) -> None:
        """CreateMultipartUpload."""
        headers = [("x-amz-meta-m", metadata)] if metadata else []
        answer = self.wire.call("POST", self.target(key, "uploads"), headers)
        self.model.uploads[answer.texts("UploadId")[0]] = Upload(key, metadata)

    @rule(data=st.data(), number=st.sampled_from([1, 2, 7]), body=BODIES)
    def put_part(self, data: st.DataObject, number: int, body: bytes) -> None:
        """UploadPart into any open upload."""
        if not self.model.uploads:
            return
        upload_id = data.draw(st.sampled_from(sorted(self.model.uploads)))
        upload = self.model.uploads[upload_id]
        query = f"partNumber={number}&uploadId={upload_id}"
        answer = self.wire.call("PUT", self.target(upload.key, query), body=body)
        assert (answer.status, answer.header("ETag")) == (200, etag_of(body))
        upload.parts[number] = body

    @rule(data=st.data(), kind=CONDITIONS)
    def complete_upload(self, data: st.DataObject, kind: str) -> None:
        """CompleteMultipartUpload with one of the parts (more would need 5 MiB each)."""
        ready = sorted(name for name, upload in self.model.uploads.items() if upload.parts)
        if not ready:
            return
        upload_id = data.draw(st.sampled_from(ready))
        upload = self.model.uploads[upload_id]
        number = data.draw(st.sampled_from(sorted(upload.parts)))
        headers, statuses = self.condition(kind, upload.key)
        etag = etag_of(upload.parts[number])
        inner = f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        answer = self.wire.call(
            "POST", self.target(upload.key, f"uploadId={upload_id}"), headers, body
        )
        assert answer.status in statuses, answer
        if answer.status == 200:
            whole = upload.etag([number])
            assert answer.texts("ETag") == [whole]
            new = Version(self.given_id(answer), upload.parts[number], whole, upload.metadata)
            self.model.add(upload.key, new)
            del self.model.uploads[upload_id]

    @rule(data=st.data())
    def abort_upload(self, data: st.DataObject) -> None:
        """AbortMultipartUpload."""
        if not self.model.uploads:
            return
        upload_id = data.draw(st.sampled_from(sorted(self.model.uploads)))
        upload = self.model.uploads.pop(upload_id)
        answer = self.wire.call("DELETE", self.target(upload.key, f"uploadId={upload_id}"))
        assert answer.status == 204

    @invariant()
    def the_touched_key_reads_right(self) -> None:
        """GET of the key: body, ETag, metadata, number of tags, and each version by id."""
        if not self.touched:
            return
        current = self.model.current(self.touched)
        got = self.wire.call("GET", path_of(self.bucket, self.touched))
        if current is None:
            assert got.status == 404
        else:
            self.same(current, got)
        for version in self.model.keys.get(self.touched, []):
            query = f"?versionId={version.version_id}"
            got = self.wire.call("GET", path_of(self.bucket, self.touched) + query)
            if version.is_marker:
                assert got.status == 405
            else:
                self.same(version, got)
        self.touched = ""

    def same(self, version: Version, got: Answer) -> None:
        """Compare a reply with a version."""
        assert got.status == 200
        assert got.body == version.body
        assert got.header("ETag") == version.etag
        assert got.header("x-amz-meta-m") == version.metadata
        assert got.header("x-amz-tagging-count", "0") == str(len(version.tags))

    @invariant()
    def listings_agree(self) -> None:
        """ListObjectsV2, whole and rolled up in small pages."""
        rows = self.pages("list-type=2", {}, "Contents", "NextContinuationToken")
        listed = [(_key(row), row.findtext("ETag"), int(row.findtext("Size") or 0)) for row in rows]
        assert listed == self.model.objects()
        for prefix in ("", "a"):
            query = f"list-type=2&delimiter=%2F&max-keys={PAGE}&prefix={prefix}"
            both: list[str] = []
            for page in self.each_page(query, {"continuation-token": "NextContinuationToken"}):
                entries = [_key(row) for row in page.findall("Contents")]
                entries += [
                    unquote(row.findtext("Prefix") or "") for row in page.findall("CommonPrefixes")
                ]
                assert len(entries) <= PAGE
                both += sorted(entries, key=str.encode)
            assert both == self.model.rolled_up(prefix, "/")

    @invariant()
    def version_listings_agree(self) -> None:
        """ListObjectVersions, whole and in small pages."""
        for size in (PAGE, 1000):
            markers = {"key-marker": "NextKeyMarker", "version-id-marker": "NextVersionIdMarker"}
            rows = [
                row
                for page in self.each_page(f"versions&max-keys={size}", markers)
                for row in page
                if row.tag in {"Version", "DeleteMarker"}
            ]
            listed = [
                (
                    _key(row),
                    row.findtext("VersionId"),
                    row.findtext("IsLatest") == "true",
                    row.tag == "DeleteMarker",
                )
                for row in rows
            ]
            assert listed == self.model.versions()

    @invariant()
    def upload_listings_agree(self) -> None:
        """ListMultipartUploads in small pages."""
        markers = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
        rows = [
            (_key(row), row.findtext("UploadId") or "")
            for page in self.each_page(f"uploads&max-uploads={PAGE}", markers)
            for row in page.findall("Upload")
        ]
        want = [(upload.key, name) for name, upload in self.model.uploads.items()]
        assert sorted(rows) == sorted(want)
        assert [key for key, _ in rows] == sorted((key for key, _ in want), key=str.encode)

    def pages(self, query: str, markers: dict[str, str], tag: str, _: str) -> list[Element]:
        """Return all rows of a kind of a listing."""
        return [row for page in self.each_page(query, markers) for row in page.findall(tag)]

    def each_page(self, query: str, markers: dict[str, str]) -> list[Element]:
        """Return the pages of a listing; ``markers`` maps parameters to the elements they echo."""
        found: list[Element] = []
        more = ""
        while True:
            target = f"/{self.bucket}?{query}&encoding-type=url{more}"
            page = self.wire.call("GET", target).xml
            found.append(page)
            if page.findtext("IsTruncated") != "true":
                return found
            more = "".join(_marker(name, page, tag) for name, tag in markers.items())


def _marker(name: str, page: Element, tag: str) -> str:
    """Return a query item with the marker of a page; key markers came URL-encoded."""
    text = page.findtext(tag)
    if text is None:
        return ""
    plain = unquote(text) if name == "key-marker" else text
    return f"&{name}={quote(plain, safe='')}"


def _key(row: Element) -> str:
    """Return the key of a row of a URL-encoded listing."""
    return unquote((row.findtext("Key") or "").replace("+", "%20"))


def _md5(body: bytes) -> str:
    """Return a Content-MD5."""
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def test_histories_look_like_the_model(server: Server, alice: Keys) -> None:
    """Every step of every history leaves server and model equal."""

    def begin() -> History:
        return History(server, alice)

    run_state_machine_as_test(
        cast("type[History]", begin),
        settings=settings(
            max_examples=400 if IS_LONG else 25,
            stateful_step_count=40 if IS_LONG else 20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
