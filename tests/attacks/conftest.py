"""What attacks have in common: a scene to attack, and the check that nothing changed."""

import pytest

from tests.attacks.routes import Scene
from tests.servers import S3, fresh_name


@pytest.fixture
def scene(s3: S3) -> Scene:
    """A bucket with the object ``kept`` and an open upload of ``upload``."""
    name = fresh_name("scene")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="kept", Body=b"kept")
    made = s3.create_multipart_upload(Bucket=name, Key="upload")
    return Scene(name, made["UploadId"])
