"""From the wire's method, target and headers to one ``RequestHead``: decoded here, once."""

import functools
import ipaddress
from collections.abc import Sequence

from storage_server.core import limits
from storage_server.s3 import errors
from storage_server.s3.request import RequestHead
from storage_server.s3.uri import decode, parse_query, printable
from storage_server.s3_api.options import Network, S3Options

RawHeaders = Sequence[tuple[bytes, bytes]]

_NAMES_MAX = 4096  # header spellings remembered; real clients use some hundred


class HeadReader:
    """Builds request heads for one port: knows its domains and the proxies it trusts."""

    def __init__(self, options: S3Options) -> None:
        """Prepare the look-ups that are the same for every request."""
        # The longest first: a domain below another one is a base host too, not a bucket.
        domains = (domain.lower().rstrip(".") for domain in options.domains)
        self._domains = tuple(sorted(domains, key=len, reverse=True))
        self._trusted = options.trusted_proxies
        self._names: dict[bytes, str] = {}
        self._bucket_of = functools.lru_cache(maxsize=1024)(self._bucket_of_host)

    def read(
        self,
        method: str,
        target: str,
        raw_headers: RawHeaders | dict[str, str],
        *,
        peer: str,
        is_secure: bool,
    ) -> RequestHead:
        """Return the request's head; ``raw_headers`` as a dict are a plain head's, read already.

        Raises:
            InvalidURI: The target is no path, or does not decode to UTF-8.
            InvalidArgument: A query name comes twice, there are too many, or a header is not UTF-8.
            KeyTooLongError: The key has more than 1,024 bytes.
        """
        headers = raw_headers if isinstance(raw_headers, dict) else self._headers(raw_headers)
        host = headers.get("host", "")
        if target[:1] != "/":
            target, host = _from_absolute(target, host)
        raw_path, _, raw_query = target.partition("?")
        path = decode(raw_path)
        bucket = self._bucket_of(host)
        is_virtual = bucket is not None
        if bucket is None:
            bucket, _, key = path[1:].partition("/")
            if key and not bucket:
                raise errors.InvalidURI(URI=raw_path[:256])
        else:
            key = path[1:]
        # A character has at most four bytes, so short keys need no second encoding.
        if len(key) > limits.KEY_BYTES_MAX // 4:
            size_bytes = len(key.encode("utf-8"))
            if size_bytes > limits.KEY_BYTES_MAX:
                raise errors.KeyTooLongError(Size=size_bytes, MaxSizeAllowed=limits.KEY_BYTES_MAX)
        if self._trusted:
            peer, is_secure = self._behind_proxy(peer, headers, is_secure=is_secure)
        return RequestHead(
            method,
            raw_path,
            raw_query,
            host,
            bucket,
            key,
            parse_query(raw_query) if raw_query else {},
            headers,
            is_virtual,
            is_secure,
            peer,
        )

    def _headers(self, raw_headers: RawHeaders) -> dict[str, str]:
        names = self._names
        headers: dict[str, str] = {}
        size_bytes = 0
        for raw_name, raw_value in raw_headers:
            size_bytes += len(raw_value)
            name = names.get(raw_name)
            if name is None:
                name = raw_name.decode("ascii", "replace").lower()
                if len(names) < _NAMES_MAX:
                    names[raw_name] = name
            try:
                value = raw_value.decode("utf-8")
            except UnicodeDecodeError:
                raise errors.InvalidArgument(
                    "Header value is not valid UTF-8.", ArgumentName=name
                ) from None
            if name in headers:
                if name in {"host", "content-length", "transfer-encoding", "authorization"}:
                    raise errors.InvalidArgument(
                        "The header is given more than once.", ArgumentName=name
                    )
                headers[name] = f"{headers[name]},{value}"
            else:
                headers[name] = value
        if size_bytes > limits.HEAD_BYTES_MAX:
            raise errors.RequestHeaderSectionTooLarge(MaxSizeAllowed=limits.HEAD_BYTES_MAX)
        return headers

    def _bucket_of_host(self, host: str) -> str | None:
        """Return the bucket that the host names, or None for path-style."""
        name = host.lower()
        if name.startswith("["):
            return None
        name = name.partition(":")[0].rstrip(".")
        for domain in self._domains:
            if name == domain:
                return None
            if name.endswith(f".{domain}"):
                return name[: -len(domain) - 1]
        return None

    def _behind_proxy(
        self, peer: str, headers: dict[str, str], *, is_secure: bool
    ) -> tuple[str, bool]:
        if not is_trusted(peer, self._trusted):
            return peer, is_secure
        proto = headers.get("x-forwarded-proto")
        if proto is not None:
            is_secure = proto.strip().lower() == "https"
        # The rightmost address that is not itself a trusted proxy: everything left of it is
        # whatever the client chose to write.
        for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
            address = hop.strip()
            if not _is_address(address):
                break
            peer = address
            if not is_trusted(address, self._trusted):
                break
        return peer, is_secure


def _from_absolute(target: str, host: str) -> tuple[str, str]:
    """Return path and host of an absolute target, which servers must take (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        raise errors.InvalidURI(URI=printable(target))
    authority, slash, path = rest.partition("/")
    if "?" in authority or "@" in authority:
        raise errors.InvalidURI(URI=printable(target))
    return slash + path or "/", authority or host


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def is_trusted(peer: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of the networks; IPv4 inside IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
