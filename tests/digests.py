"""The checksums of S3, computed by other means than the server's, and their header names."""

import base64
import hashlib
import zlib
from collections.abc import Callable

import xxhash
from awscrt import checksums

ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: int(checksums.crc32c(body)).to_bytes(4, "big"),
    "CRC64NVME": lambda body: int(checksums.crc64nvme(body)).to_bytes(8, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
    "SHA512": lambda body: hashlib.sha512(body).digest(),
    "MD5": lambda body: hashlib.md5(body).digest(),
    "XXHASH64": lambda body: xxhash.xxh64(body).digest(),
    "XXHASH3": lambda body: xxhash.xxh3_64(body).digest(),
    "XXHASH128": lambda body: xxhash.xxh3_128(body).digest(),
}

# Check values of "123456789".  Sources: the CRC catalogue of Greg Cook; FIPS 180-4.
KNOWN = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


def header_of(algorithm: str) -> str:
    """Return the header that carries a checksum."""
    return f"x-amz-checksum-{algorithm.lower()}"


def checksum(algorithm: str, body: bytes) -> str:
    """Return the checksum as S3 writes it."""
    return base64.b64encode(ALGORITHMS[algorithm](body)).decode()


def composite(algorithm: str, *bodies: bytes) -> str:
    """Return the checksum of the parts' checksums, with their number."""
    joined = b"".join(ALGORITHMS[algorithm](body) for body in bodies)
    return f"{checksum(algorithm, joined)}-{len(bodies)}"
