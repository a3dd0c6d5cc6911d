"""Tags and access control lists of objects on the wire."""

import pytest

from storage_server.s3.errors import InvalidArgument, MalformedXML
from storage_server.s3.messages.acl import RequestedAcl
from storage_server.s3.messages.object_config import (
    ObjectVersionInput,
    PutObjectAclInput,
    PutObjectTaggingInput,
    delete_object_tagging_reply,
    get_object_tagging_reply,
    put_object_tagging_reply,
)
from tests.s3.messages.aws import head, read

TAGGING = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"


def test_put_object_tagging_reads_target_and_tags() -> None:
    """Key, version and the tags that replace all."""
    wanted = PutObjectTaggingInput.parse(
        head("PUT", key="k", query={"tagging": "", "versionId": "null"}), TAGGING
    )
    assert wanted.target == ObjectVersionInput("bucket", "k", "null")
    assert wanted.tags == (("a", "1"),)
    with pytest.raises(MalformedXML):
        PutObjectTaggingInput.parse(head("PUT", key="k"), b"<Tagging/>")


def test_an_empty_version_id_is_refused() -> None:
    """It names no version, and the current one was not meant."""
    with pytest.raises(InvalidArgument):
        ObjectVersionInput.parse(head(key="k", query={"versionId": ""}))


def test_replies_name_the_version_where_there_are_versions() -> None:
    """None in a bucket that never had any."""
    assert read("GetObjectTagging", get_object_tagging_reply((("a", "1"),), "v")) == {
        "VersionId": "v",
        "TagSet": [{"Key": "a", "Value": "1"}],
    }
    assert read("GetObjectTagging", get_object_tagging_reply((), None)) == {"TagSet": []}
    assert read("PutObjectTagging", put_object_tagging_reply("v")) == {"VersionId": "v"}
    assert read("DeleteObjectTagging", delete_object_tagging_reply(None)) == {}
    assert delete_object_tagging_reply("v").status == 204


def test_put_object_acl_reads_target_and_list() -> None:
    """As those of buckets, for one version."""
    wanted = PutObjectAclInput.parse(
        head("PUT", key="k", query={"versionId": "v"}, headers={"x-amz-acl": "private"}), b""
    )
    assert wanted.target == ObjectVersionInput("bucket", "k", "v")
    assert wanted.acl == RequestedAcl("private")
