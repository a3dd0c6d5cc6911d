"""The census of routes: one well-formed request for every operation that is served."""

import base64
import hashlib
from dataclasses import dataclass

from tests.servers import S3
from tests.signing import Headers


@dataclass(frozen=True, slots=True)
class Scene:
    """A bucket with an object and an open upload that no attack may change."""

    bucket: str
    upload_id: str

    def state(self, s3: S3) -> object:
        """Return everything an attack could have changed."""
        versions = s3.list_object_versions(Bucket=self.bucket)
        uploads = s3.list_multipart_uploads(Bucket=self.bucket)
        parts = s3.list_parts(Bucket=self.bucket, Key="upload", UploadId=self.upload_id)
        tags = s3.get_object_tagging(Bucket=self.bucket, Key="kept")
        return (
            [(row["Key"], row["ETag"], row["VersionId"]) for row in versions["Versions"]],
            versions.get("DeleteMarkers"),
            [row["UploadId"] for row in uploads["Uploads"]],
            [row["PartNumber"] for row in parts.get("Parts", [])],
            tags["TagSet"],
            s3.get_bucket_versioning(Bucket=self.bucket).get("Status"),
            sorted(row["Name"] for row in s3.list_buckets()["Buckets"]),
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A request that would work if it were signed rightly; ``{b}`` and ``{u}`` are filled in."""

    name: str
    method: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    streams: bool = False

    def at(self, scene: Scene) -> str:
        """Return the target."""
        return self.target.replace("{b}", scene.bucket).replace("{u}", scene.upload_id)

    def head(self, scene: Scene) -> Headers:
        """Return the headers, with the MD5 that some operations ask for."""
        filled = [(name, text.replace("{b}", scene.bucket)) for name, text in self.headers]
        if self.name in {"DeleteObjects", "PutBucketTagging"}:
            digest = hashlib.md5(self.body).digest()
            filled.append(("Content-MD5", base64.b64encode(digest).decode()))
        return filled


TAGGING = b"<Tagging><TagSet><Tag><Key>evil</Key><Value>1</Value></Tag></TagSet></Tagging>"
COPY = ("x-amz-copy-source", "/{b}/kept")

WRITES = [
    Route("CreateBucket", "PUT", "/evil-{b}"[:60]),
    Route("DeleteBucket", "DELETE", "/{b}"),
    Route(
        "PutBucketVersioning",
        "PUT",
        "/{b}?versioning",
        b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    ),
    Route("PutBucketTagging", "PUT", "/{b}?tagging", TAGGING),
    Route("DeleteBucketTagging", "DELETE", "/{b}?tagging"),
    Route("PutObject", "PUT", "/{b}/evil", b"evil", streams=True),
    Route("CopyObject", "PUT", "/{b}/evil", headers=(COPY,)),
    Route(
        "RenameObject", "PUT", "/{b}/evil?renameObject", headers=(("x-amz-rename-source", "kept"),)
    ),
    Route("DeleteObject", "DELETE", "/{b}/kept"),
    Route(
        "DeleteObjects",
        "POST",
        "/{b}?delete",
        b"<Delete><Object><Key>kept</Key></Object></Delete>",
    ),
    Route("PutObjectTagging", "PUT", "/{b}/kept?tagging", TAGGING),
    Route("DeleteObjectTagging", "DELETE", "/{b}/kept?tagging"),
    Route("CreateMultipartUpload", "POST", "/{b}/evil?uploads"),
    Route("UploadPart", "PUT", "/{b}/upload?partNumber=1&uploadId={u}", b"evil", streams=True),
    Route("UploadPartCopy", "PUT", "/{b}/upload?partNumber=1&uploadId={u}", headers=(COPY,)),
    Route(
        "CompleteMultipartUpload",
        "POST",
        "/{b}/upload?uploadId={u}",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
        b"</CompleteMultipartUpload>",
    ),
    Route("AbortMultipartUpload", "DELETE", "/{b}/upload?uploadId={u}"),
    Route(
        "PutObject with auto-extract",
        "PUT",
        "/{b}/evil.tar",
        b"x",
        (("x-amz-meta-snowball-auto-extract", "true"),),
    ),
    Route("PutObject appending", "PUT", "/{b}/kept", b"x", (("x-amz-write-offset-bytes", "4"),)),
]

READS = [
    Route("ListBuckets", "GET", "/"),
    Route("HeadBucket", "HEAD", "/{b}"),
    Route("GetBucketLocation", "GET", "/{b}?location"),
    Route("GetBucketVersioning", "GET", "/{b}?versioning"),
    Route("GetBucketTagging", "GET", "/{b}?tagging"),
    Route("GetBucketAcl", "GET", "/{b}?acl"),
    Route("ListObjects", "GET", "/{b}"),
    Route("ListObjectsV2", "GET", "/{b}?list-type=2"),
    Route("ListObjectVersions", "GET", "/{b}?versions"),
    Route("ListMultipartUploads", "GET", "/{b}?uploads"),
    Route("GetObject", "GET", "/{b}/kept"),
    Route("HeadObject", "HEAD", "/{b}/kept"),
    Route("GetObjectAcl", "GET", "/{b}/kept?acl"),
    Route("GetObjectTagging", "GET", "/{b}/kept?tagging"),
    Route(
        "GetObjectAttributes",
        "GET",
        "/{b}/kept?attributes",
        headers=(("x-amz-object-attributes", "ETag"),),
    ),
    Route("ListParts", "GET", "/{b}/upload?uploadId={u}"),
]
