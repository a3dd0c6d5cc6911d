"""The keyring opens for its master key only, survives any crash, and gives each key its place."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_server.core.ids import new_bucket_id, new_tenant_id
from storage_server.crypto.errors import (
    CryptoError,
    KeyFileExposed,
    KeyringDamaged,
    KeyringTooNew,
    KeyVersionMissing,
    MasterKeyMalformed,
    MasterKeyMissing,
    WrongKey,
    WrongMasterKey,
)
from storage_server.crypto.keyring import Keyring, MasterSource
from storage_server.crypto.wrapping import context, new_key

FAST = 10  # scrypt cost for tests
WHERE = context("test")


def opened(folder: Path, source: MasterSource) -> Keyring:
    """Open or make the keyring of a test's data folder."""
    return Keyring.open_or_create(folder / "keys", source, scrypt_cost_log2=FAST)


def sources() -> list[MasterSource]:
    """Return one master key of each kind, and of each spelling."""
    return [
        MasterSource.generated(),
        MasterSource.value(base64.b64encode(new_key()).decode()),
        MasterSource.value(new_key().hex()),
        MasterSource.passphrase("correct horse battery staple"),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_the_same_master_key_opens_the_keyring_again(tmp_path: Path, kind: int) -> None:
    """A restart finds every tenant key and secret."""
    source = sources()[kind]
    first = opened(tmp_path, source)
    tenant = new_tenant_id()
    wrapped, _ = first.new_tenant_key(tenant)
    sealed = first.tenant_key(tenant, wrapped, 1).seal(b"data", WHERE)
    secret = first.seal_secret("AKIAONE", "a secret")

    again = opened(tmp_path, source)
    assert again.tenant_key(tenant, wrapped, again.root_key_version).open(sealed, WHERE) == b"data"
    assert again.unseal_secret("AKIAONE", secret) == "a secret"


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("other", range(1, 4))
def test_another_master_key_is_refused_in_words(tmp_path: Path, kind: int, other: int) -> None:
    """The wrong key is said to be wrong, whatever its kind, and nothing on disk changes."""
    opened(tmp_path, sources()[kind])
    before = (tmp_path / "keys" / "keyring.json").read_bytes()
    wrong = sources()[other]
    if wrong.kind == "passphrase":
        wrong = MasterSource.passphrase("another")
    with pytest.raises(WrongMasterKey):
        opened(tmp_path, wrong)
    assert (tmp_path / "keys" / "keyring.json").read_bytes() == before


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    """Modes, also of a folder that was open before."""
    (tmp_path / "keys").mkdir(mode=0o755)
    opened(tmp_path, MasterSource.generated())
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for name in ("master.key", "keyring.json"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "keyring.json",
        "master.key",
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_an_exposed_master_key_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can read it can read everything."""
    opened(tmp_path, MasterSource.generated())
    (tmp_path / "keys" / "master.key").chmod(mode)
    with pytest.raises(KeyFileExposed, match="chmod 0600"):
        opened(tmp_path, MasterSource.generated())


@pytest.mark.parametrize(
    "source",
    [
        MasterSource.value("secret"),
        MasterSource.value(""),
        MasterSource.value("0" * 63),
        MasterSource.value(base64.b64encode(bytes(31)).decode()),
        MasterSource.passphrase(""),
    ],
)
def test_what_is_not_a_key_is_refused(tmp_path: Path, source: MasterSource) -> None:
    """Nothing weak is stretched into a key, and no keyring is made."""
    with pytest.raises(MasterKeyMalformed):
        opened(tmp_path, source)
    assert not (tmp_path / "keys" / "keyring.json").exists()


def test_a_lost_master_key_is_not_replaced(tmp_path: Path) -> None:
    """A new one would open nothing: the old one has to be found."""
    opened(tmp_path, MasterSource.generated())
    (tmp_path / "keys" / "master.key").unlink()
    with pytest.raises(MasterKeyMissing):
        opened(tmp_path, MasterSource.generated())
    assert not (tmp_path / "keys" / "master.key").exists()


def test_a_crash_between_master_key_and_keyring_heals(tmp_path: Path) -> None:
    """The first start stopped half-way; the second goes on with the master key it finds."""
    opened(tmp_path, MasterSource.generated())
    (tmp_path / "keys" / "keyring.json").unlink()
    master = (tmp_path / "keys" / "master.key").read_bytes()
    opened(tmp_path, MasterSource.generated())
    assert (tmp_path / "keys" / "master.key").read_bytes() == master


def test_every_damage_to_the_keyring_is_noticed(tmp_path: Path) -> None:
    """R5: no flipped bit and no cut of the file opens, or breaks anything but the start."""
    opened(tmp_path, MasterSource.generated())
    path = tmp_path / "keys" / "keyring.json"
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 3):
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.write_bytes(broken)
            with pytest.raises((KeyringDamaged, KeyringTooNew)):
                opened(tmp_path, MasterSource.generated())


def test_many_first_starts_make_one_keyring(tmp_path: Path) -> None:
    """Roles that start at once on a new folder end up with the same keys."""
    with ThreadPoolExecutor(8) as threads:
        keyrings = list(threads.map(lambda _: opened(tmp_path, MasterSource.generated()), range(8)))
    sealed = keyrings[0].seal_secret("AKIAONE", "a secret")
    assert {one.unseal_secret("AKIAONE", sealed) for one in keyrings} == {"a secret"}


def test_a_key_opens_only_in_its_place(tmp_path: Path) -> None:
    """Tenant, bucket, version and access key id are bound: rows can't be exchanged."""
    ring = opened(tmp_path, MasterSource.generated())
    tenant, other = new_tenant_id(), new_tenant_id()
    bucket, other_bucket = new_bucket_id(), new_bucket_id()
    wrapped, _ = ring.new_tenant_key(tenant)
    tenant_key = ring.tenant_key(tenant, wrapped, 1)
    with pytest.raises(WrongKey):
        ring.tenant_key(other, wrapped, 1)
    with pytest.raises(WrongKey):
        ring.tenant_key(tenant, wrapped, 1, key_version=2)
    with pytest.raises(KeyVersionMissing):
        ring.tenant_key(tenant, wrapped, 2)

    in_bucket = ring.new_bucket_key(tenant, tenant_key, bucket)
    ring.bucket_key(tenant, tenant_key, bucket, in_bucket)
    for place in ((tenant, other_bucket, 1), (other, bucket, 1), (tenant, bucket, 2)):
        with pytest.raises(WrongKey):
            ring.bucket_key(place[0], tenant_key, place[1], in_bucket, place[2])

    secret = ring.seal_secret("AKIAONE", "a secret")
    with pytest.raises(WrongKey):
        ring.unseal_secret("AKIATWO", secret)
    with pytest.raises((WrongKey, KeyVersionMissing)):
        ring.unseal_secret("AKIAONE", b"")


def test_unsealed_keys_are_kept(tmp_path: Path) -> None:
    """The hot path unwraps a bucket's key once."""
    ring = opened(tmp_path, MasterSource.generated())
    tenant, bucket = new_tenant_id(), new_bucket_id()
    tenant_key = ring.tenant_key(tenant, *ring.new_tenant_key(tenant))
    wrapped = ring.new_bucket_key(tenant, tenant_key, bucket)
    once = ring.bucket_key(tenant, tenant_key, bucket, wrapped)
    assert ring.bucket_key(tenant, tenant_key, bucket, wrapped) is once


def test_a_new_root_key_leaves_the_old_one_readable(tmp_path: Path) -> None:
    """Rotation seals new things under the new key; what is older opens still, also later."""
    ring = opened(tmp_path, MasterSource.generated())
    tenant = new_tenant_id()
    old = ring.new_tenant_key(tenant)
    secret = ring.seal_secret("AKIAONE", "a secret")
    assert ring.add_root_key() == ring.root_key_version == 2
    new = ring.new_tenant_key(tenant)
    assert (old[1], new[1]) == (1, 2)
    for keyring in (ring, opened(tmp_path, MasterSource.generated())):
        keyring.tenant_key(tenant, *old)
        keyring.tenant_key(tenant, *new)
        assert keyring.unseal_secret("AKIAONE", secret) == "a secret"


def test_the_master_key_can_be_changed(tmp_path: Path) -> None:
    """The new one opens everything, the old one nothing any more."""
    old = MasterSource.generated()
    new = MasterSource.passphrase("a passphrase")
    ring = opened(tmp_path, old)
    ring.add_root_key()
    secret = ring.seal_secret("AKIAONE", "a secret")
    with pytest.raises(WrongMasterKey):
        ring.change_master(MasterSource.value(new_key().hex()), new, scrypt_cost_log2=FAST)
    ring.change_master(old, new, scrypt_cost_log2=FAST)
    assert opened(tmp_path, new).unseal_secret("AKIAONE", secret) == "a secret"
    with pytest.raises(WrongMasterKey):
        opened(tmp_path, old)


def test_no_key_is_shown(tmp_path: Path) -> None:
    """Nor any secret: not by repr, not by an error, not by a pickle."""
    text = new_key().hex()
    source = MasterSource.value(text)
    ring = opened(tmp_path, source)
    assert text not in repr(source) + repr(ring)
    with pytest.raises(TypeError):
        ring.__reduce__()
    with pytest.raises(CryptoError) as caught:
        opened(tmp_path, MasterSource.value(text[:-1]))
    assert text[:-1] not in str(caught.value)
    assert os.fsencode(text) not in (tmp_path / "keys" / "keyring.json").read_bytes()
