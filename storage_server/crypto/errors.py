"""What keys and ciphers can answer instead of doing what they were asked."""


class CryptoError(Exception):
    """Base of this package's errors. No message ever holds key bytes or a secret."""


class WrongKey(CryptoError):
    """The sealed bytes do not open under this key in this context."""


class TagMismatch(CryptoError):
    """A chunk is not what was sealed under its blob key, id, number, length and place."""


class WrongMasterKey(CryptoError):
    """The keyring was locked by another master key, or by another kind of one."""


class MasterKeyMissing(CryptoError):
    """There is a keyring, but the master key that opens it is not where it was said to be."""


class MasterKeyMalformed(CryptoError):
    """The master key is not 32 bytes in hex or base64, or the passphrase is empty."""


class KeyFileExposed(CryptoError):
    """A file with a key in it is open to other users of the machine."""


class KeyringDamaged(CryptoError):
    """The keyring file does not parse, or its checksum does not match."""


class KeyringTooNew(CryptoError):
    """The keyring file was written by a newer program."""


class KeyVersionMissing(CryptoError):
    """The keyring has no root key of this version: destroyed, or the keyring is an old copy."""
