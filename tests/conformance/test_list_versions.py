"""ListObjectVersions: order, markers, delimiter, owners."""

from typing import Any

import pytest

from tests.servers import S3
from tests.wire import S3Wire


def walk(s3: S3, **request: Any) -> tuple[list[tuple[str, str, bool]], list[str]]:
    """Return (key, version id, is latest) of versions and markers as they come, and prefixes."""
    rows: list[tuple[str, str, bool]] = []
    prefixes: list[str] = []
    markers: dict[str, str] = {}
    while True:
        page = s3.list_object_versions(**request, **markers)
        versions, removed = page.get("Versions", []), page.get("DeleteMarkers", [])
        both = [(row["Key"], row["VersionId"], row["IsLatest"]) for row in [*versions, *removed]]
        assert all(len(row["Owner"]["ID"]) == 64 for row in [*versions, *removed])
        rows += both
        prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            return rows, prefixes
        markers = {"KeyMarker": page["NextKeyMarker"]}
        if "NextVersionIdMarker" in page:
            markers["VersionIdMarker"] = page["NextVersionIdMarker"]


@pytest.fixture
def history(s3: S3, versioned: str) -> list[tuple[str, str, bool]]:
    """Three keys with versions and markers; newest first within a key."""
    told: dict[str, list[str]] = {"a": [], "b/1": [], "b/2": []}
    for round_number in range(3):
        for key, ids in told.items():
            if key == "b/1" and round_number == 2:
                ids.insert(0, s3.delete_object(Bucket=versioned, Key=key)["VersionId"])
            else:
                put = s3.put_object(Bucket=versioned, Key=key, Body=str(round_number).encode())
                ids.insert(0, put["VersionId"])
    return [(key, name, at == 0) for key, ids in told.items() for at, name in enumerate(ids)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
def test_pages_of_any_size_add_up(
    s3: S3, versioned: str, history: list[tuple[str, str, bool]], size: int
) -> None:
    """Every version and marker is listed once, whatever the page."""
    rows, _ = walk(s3, Bucket=versioned, MaxKeys=size)
    assert sorted(rows) == sorted(history)


def test_rows_come_newest_first(
    wire: S3Wire, versioned: str, history: list[tuple[str, str, bool]]
) -> None:
    """Versions and markers are mixed in one order: by key, then newest first."""
    root = wire.call("GET", f"/{versioned}?versions").xml
    rows = [row for row in root if row.tag in {"Version", "DeleteMarker"}]
    told = [(r.findtext("Key"), r.findtext("VersionId"), r.findtext("IsLatest")) for r in rows]
    assert told == [(key, name, str(latest).lower()) for key, name, latest in history]
    (marker,) = root.findall("DeleteMarker")
    assert marker.find("Size") is None


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_delimiter_rolls_up_versions(
    s3: S3, versioned: str, history: list[tuple[str, str, bool]], size: int
) -> None:
    """All versions under a prefix are one CommonPrefixes entry."""
    rows, prefixes = walk(s3, Bucket=versioned, Delimiter="/", MaxKeys=size)
    assert rows == [row for row in history if row[0] == "a"]
    assert prefixes == ["b/"]


def test_a_key_marker_alone_skips_the_key(
    s3: S3, versioned: str, history: list[tuple[str, str, bool]]
) -> None:
    """Without a version id marker all versions of the marker's key are passed."""
    page = s3.list_object_versions(Bucket=versioned, KeyMarker="a")
    assert {row["Key"] for row in page["Versions"]} == {"b/1", "b/2"}


def test_both_markers_go_on_within_a_key(
    s3: S3, versioned: str, history: list[tuple[str, str, bool]]
) -> None:
    """With both markers the listing goes on behind that version."""
    page = s3.list_object_versions(
        Bucket=versioned, KeyMarker="a", VersionIdMarker=history[0][1], Prefix="a"
    )
    assert [row["VersionId"] for row in page["Versions"]] == [history[1][1], history[2][1]]


def test_a_version_id_marker_needs_a_key_marker(wire: S3Wire, versioned: str) -> None:
    """The pair makes sense only together."""
    answer = wire.call("GET", f"/{versioned}?versions&version-id-marker=abc")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_an_unversioned_bucket_lists_null(s3: S3, bucket: str) -> None:
    """Objects outside versioning have the version id null and are latest."""
    s3.put_object(Bucket=bucket, Key="k")
    rows, _ = walk(s3, Bucket=bucket)
    assert rows == [("k", "null", True)]
