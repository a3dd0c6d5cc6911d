"""ListObjects, ListObjectsV2 and ListObjectVersions on the wire."""

from urllib.parse import unquote_plus

import pytest

from storage_server.core.ids import CanonicalId, PrincipalId, VersionId
from storage_server.engine.records import (
    Checksum,
    ChecksumType,
    Detail,
    Kind,
    ListedMarkerOrVersion,
    ObjectPage,
    VersionPage,
    VersionRecord,
    Writer,
)
from storage_server.s3.errors import InvalidArgument
from storage_server.s3.messages.listings import (
    ListObjectsInput,
    ListObjectVersionsInput,
    list_object_versions_reply,
    list_objects_reply,
)
from storage_server.s3.messages.pages import Owner
from tests.s3.messages.aws import head, read

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
OWNER = Owner("c" * 64, "50% <me>")
ODD_KEYS = ["a", "a&b<c>\"'.txt", "a b+c%20", "é/漢字", "tab\tline\nend\r", "100%"]


TEXT = (
    b'2024-05-06T07:08:09.123Z</LastModified><ETag>"%b"</ETag><Size>42</Size>'
    b"<StorageClass>STANDARD" % ETAG.encode()
)


CHECKSUM = b"<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>"


def _page(
    keys: list[str], prefixes: list[str], marker: str = "", checksum: bytes = b""
) -> ObjectPage:
    return ObjectPage(
        [key.encode() for key in keys],
        [b"</Key>%b<LastModified>" % checksum] * len(keys),
        [TEXT] * len(keys),
        [prefix.encode() for prefix in prefixes],
        bool(marker),
        marker.encode(),
    )


def _v1(**query: str) -> ListObjectsInput:
    return ListObjectsInput.parse(head(query={k.replace("_", "-"): v for k, v in query.items()}))


def _v2(**query: str) -> ListObjectsInput:
    names = {name.replace("_", "-"): value for name, value in query.items()}
    return ListObjectsInput.parse_v2(head(query={"list-type": "2", **names}))


@pytest.mark.parametrize("is_url", [False, True])
def test_keys_survive_the_sdk(is_url: bool) -> None:
    """Markup, blanks, controls, percent signs and every script, escaped or URL-encoded."""
    wanted = _v2(encoding_type="url") if is_url else _v2()
    parsed = read("ListObjectsV2", list_objects_reply(wanted, _page(ODD_KEYS, []), None))
    keys = [entry["Key"] for entry in parsed["Contents"]]
    assert [unquote_plus(key) for key in keys] == ODD_KEYS if is_url else keys == ODD_KEYS
    assert parsed.get("EncodingType") == ("url" if is_url else None)


def test_list_objects_v2_is_what_boto3_reads() -> None:
    """Every member of a page in the middle of a listing."""
    first = _v2(prefix="p/", delimiter="/", max_keys="3", start_after="p/0", fetch_owner="true")
    assert first.after == "p/0"
    page = _page(["p/1", "p/2"], ["p/x/"], "p/x/")
    parsed = read("ListObjectsV2", list_objects_reply(first, page, OWNER))
    assert parsed["Name"] == "bucket"
    assert parsed["Prefix"] == "p/"
    assert parsed["Delimiter"] == "/"
    assert parsed["StartAfter"] == "p/0"
    assert parsed["MaxKeys"] == parsed["KeyCount"] == 3
    assert parsed["IsTruncated"] is True
    assert parsed["CommonPrefixes"] == [{"Prefix": "p/x/"}]
    entry = parsed["Contents"][0]
    assert entry["LastModified"].isoformat() == "2024-05-06T07:08:09.123000+00:00"
    assert (entry["Key"], entry["ETag"], entry["Size"]) == ("p/1", f'"{ETAG}"', 42)
    assert entry["StorageClass"] == "STANDARD"
    assert entry["Owner"] == {"ID": "c" * 64, "DisplayName": "50% <me>"}
    assert not {"ChecksumAlgorithm", "ChecksumType"} & entry.keys()
    token = parsed["NextContinuationToken"]
    second = _v2(continuation_token=token, start_after="p/0")
    assert second.after == "p/x/"
    parsed = read("ListObjectsV2", list_objects_reply(second, _page([], []), None))
    assert parsed["ContinuationToken"] == token
    assert parsed["KeyCount"] == 0
    assert parsed["IsTruncated"] is False
    assert "NextContinuationToken" not in parsed


@pytest.mark.parametrize("owners", [None, OWNER, [OWNER, Owner("d" * 64)]])
@pytest.mark.parametrize("is_url", [False, True])
@pytest.mark.parametrize("operation", ["ListObjects", "ListObjectsV2"])
def test_an_entry_tells_the_checksum_of_its_object(
    operation: str,
    is_url: bool,
    owners: Owner | list[Owner] | None,
) -> None:
    """In both versions, with and without owners and encoding, and beside one that has none."""
    query = {"encoding_type": "url"} if is_url else {}
    wanted = _v1(**query) if operation == "ListObjects" else _v2(fetch_owner="true", **query)
    page = _page(["a b", "c"], ["d/"], checksum=CHECKSUM)
    page.behind_keys[1] = b"</Key><LastModified>"
    told, plain = read(operation, list_objects_reply(wanted, page, owners))["Contents"]
    assert (told["ChecksumAlgorithm"], told["ChecksumType"]) == (["SHA256"], "COMPOSITE")
    assert not {"ChecksumAlgorithm", "ChecksumType"} & plain.keys()
    assert (told["Size"], plain["Key"], "Owner" in told) == (42, "c", owners is not None)


def test_v2_names_owners_only_when_asked() -> None:
    """fetch-owner is off unless it is true."""
    for wanted in (_v2(), _v2(fetch_owner="false")):
        assert not wanted.fetch_owner
        parsed = read("ListObjectsV2", list_objects_reply(wanted, _page(["a"], []), OWNER))
        assert "Owner" not in parsed["Contents"][0]


@pytest.mark.parametrize(
    "query",
    [
        {"list_type": "1"},
        {"continuation_token": ""},
        {"continuation_token": "forged"},
        {"max_keys": "-1"},
        {"encoding_type": "x"},
    ],
)
def test_v2_refuses_what_it_cannot_read(query: dict[str, str]) -> None:
    """A wrong page is worse than none."""
    with pytest.raises(InvalidArgument):
        _v2(**query)


def test_a_token_is_bound_to_its_bucket() -> None:
    """A token of one bucket starts no listing of another."""
    body = list_objects_reply(_v2(), _page(["a"], [], "a"), None)
    token = read("ListObjectsV2", body)["NextContinuationToken"]
    query = {"list-type": "2", "continuation-token": token}
    with pytest.raises(InvalidArgument):
        ListObjectsInput.parse_v2(head(bucket="other", query=query))


def test_list_objects_is_what_boto3_reads() -> None:
    """The first version: marker, and NextMarker only where keys are folded."""
    wanted = _v1(marker="m", delimiter="/", prefix="p")
    parsed = read("ListObjects", list_objects_reply(wanted, _page(["p1"], ["p2/"], "p2/"), OWNER))
    assert (parsed["Marker"], parsed["NextMarker"]) == ("m", "p2/")
    assert parsed["Contents"][0]["Owner"]["ID"] == "c" * 64
    assert parsed["MaxKeys"] == 1000
    parsed = read("ListObjects", list_objects_reply(_v1(), _page(["a"], [], "a"), OWNER))
    assert parsed["IsTruncated"] is True
    assert "NextMarker" not in parsed


def _record(
    version_id: str, kind: Kind = Kind.OBJECT, checksum: Checksum | None = None
) -> VersionRecord:
    writer = Writer(PrincipalId(""), "", "")
    detail = Detail(owner=CanonicalId("c"), writer=writer, checksum=checksum)
    return VersionRecord(
        kind, 1, VersionId(version_id), 1_700_000_000_000_000, ETAG, 7, "STANDARD", 1, 1, detail
    )


def test_list_object_versions_is_what_boto3_reads() -> None:
    """Versions, markers, the null version and the markers to go on with."""
    wanted = ListObjectVersionsInput.parse(
        head(query={"versions": "", "key-marker": "a", "version-id-marker": "null"})
    )
    newer = f"{2:016x}{0:016x}"
    page = VersionPage(
        [
            ListedMarkerOrVersion(b"k&1", True, _record(newer, Kind.MARKER)),
            ListedMarkerOrVersion(b"k&1", False, _record("null")),
        ],
        [b"z/"],
        True,
        b"k&1",
        "null",
    )
    owners = [OWNER, Owner("d" * 64)]
    parsed = read("ListObjectVersions", list_object_versions_reply(wanted, page, owners))
    assert (parsed["KeyMarker"], parsed["VersionIdMarker"]) == ("a", "null")
    assert (parsed["NextKeyMarker"], parsed["NextVersionIdMarker"]) == ("k&1", "null")
    (marker,) = parsed["DeleteMarkers"]
    assert (marker["Key"], marker["VersionId"], marker["IsLatest"]) == ("k&1", newer, True)
    (version,) = parsed["Versions"]
    assert (version["VersionId"], version["IsLatest"]) == ("null", False)
    assert (version["ETag"], version["Size"]) == (f'"{ETAG}"', 7)
    assert marker["Owner"] == {"ID": "c" * 64, "DisplayName": "50% <me>"}
    assert version["Owner"] == {"ID": "d" * 64}
    assert parsed["CommonPrefixes"] == [{"Prefix": "z/"}]
    assert list_object_versions_reply(wanted, page, owners).body.index(  # type: ignore[union-attr]
        b"<DeleteMarker>"
    )


def test_each_version_tells_its_checksum() -> None:
    """Of its parts, of the whole, or none; a marker never has one."""
    checksums = [Checksum("CRC32", b"", ChecksumType.COMPOSITE), Checksum("CRC64NVME", b""), None]
    entries = [
        ListedMarkerOrVersion(b"k", False, _record(f"{number:032x}", Kind.OBJECT, checksum))
        for number, checksum in enumerate(checksums)
    ]
    entries.append(ListedMarkerOrVersion(b"m", True, _record("null", Kind.MARKER)))
    wanted = ListObjectVersionsInput.parse(head(query={"versions": ""}))
    page = VersionPage(entries, [], False, b"", "")
    reply = list_object_versions_reply(wanted, page, [OWNER] * 4)
    versions = read("ListObjectVersions", reply)["Versions"]
    assert [(one.get("ChecksumAlgorithm"), one.get("ChecksumType")) for one in versions] == [
        (["CRC32"], "COMPOSITE"),
        (["CRC64NVME"], "FULL_OBJECT"),
        (None, None),
    ]
    assert isinstance(reply.body, bytes)
    assert reply.body.count(b"<ChecksumType>") == 2


@pytest.mark.parametrize(
    "query",
    [
        {"version-id-marker": "null"},
        {"key-marker": "a", "version-id-marker": "nonsense"},
        {"key-marker": "a", "version-id-marker": "z" * 32},
    ],
)
def test_a_version_marker_is_checked(query: dict[str, str]) -> None:
    """It needs a key, and the form of a version id."""
    with pytest.raises(InvalidArgument):
        ListObjectVersionsInput.parse(head(query=query))
