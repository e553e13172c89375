"""Calls to a client's own URL when its job has ended: where they may go, how they are signed, when they are repeated.

Signatures follow https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

from tollgate.domain.errors import InvalidRequestError

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

ANYWHERE = "0.0.0.0/0,::/0"
"""Networks for URLs in a catalogue: the sending function, which knows the stack's networks, makes the actual check."""

MAX_URL_LENGTH = 2048
MAX_ATTEMPTS = 8
LONGEST_WAIT_SECONDS = 43_000
"""SQS hides a message for at most 12 hours, counted from when it was received."""

_FIRST_WAIT_SECONDS = 5
_WAIT_GROWTH = 4
_LONGEST_PLANNED_WAIT_SECONDS = 7_200

_SECRET_PREFIX = "whsec_"  # noqa: S105 -- what every secret begins with
_SECRET_BYTES = range(24, 65)

_HTTPS_PORT = 443
_FIRST_UNPRIVILEGED_PORT = 1024
_INNER_SUFFIXES = (".local", ".internal", ".localhost", ".home.arpa")

# Over IPv6, only what the registries call global unicast is allowed, without the parts that embed an IPv4 address,
# because
# anything can be behind those: https://www.iana.org/assignments/iana-ipv6-special-registry/
_IPV6_UNICAST = IPv6Network("2000::/3")
# NAT64 and IPv4-mapped addresses lie outside global unicast; 6to4 and Teredo inside.
_IPV6_CARRIERS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
_IPV4_RELAYS = IPv4Network("192.88.99.0/24")


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """A checked URL in its parts; `target` is path and query."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """The host in the form of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _HTTPS_PORT if self.secure else 80
        return host if self.port == usual else f"{host}:{self.port}"


def parse_networks(text: str) -> Networks:
    """Networks from a comma list such as ``10.1.0.0/16, fd00::/8``; none from an empty text.

    Raises:
        ValueError: a part is not a network.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def may_reach(address: Address, allowed: Networks = ()) -> bool:
    """Whether a webhook may be sent to this address: a public one, or one in a network that the operator allowed.

    An IPv4 address embedded in an IPv6 one is refused even if it would be allowed itself: no public receiver has one.
    """
    if any(address in network for network in allowed):
        return True
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _IPV4_RELAYS
    return address in _IPV6_UNICAST and not any(address in carrier for carrier in _IPV6_CARRIERS)


def is_public_port(port: int) -> bool:
    """Whether a webhook may use this port outside of the operator's own networks."""
    return port == _HTTPS_PORT or port >= _FIRST_UNPRIVILEGED_PORT


def check_webhook_url(url: str, allowed: Networks = ()) -> WebhookUrl:
    """The parts of a URL that a webhook may be sent to, checked as far as possible without resolving its name.

    Must be https, on port 443 or above 1023, without user name and fragment, and not plainly inside a private network.
    Hosts in `allowed` networks may be reached over http and on any port; with such networks names pass as well, since
    only their addresses can tell.

    Raises:
        InvalidRequestError: the URL is not allowed.
    """
    try:
        return _checked(url, allowed)
    except ValueError as error:
        raise InvalidRequestError(f"'webhook_url' cannot be used: {error}.", param="webhook_url") from None


def _checked(url: str, allowed: Networks) -> WebhookUrl:
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"it is longer than {MAX_URL_LENGTH} characters")
    if not all("!" <= character <= "~" for character in url) or "\\" in url:
        raise ValueError("it has spaces, backslashes or characters that are not ASCII; encode them")
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"}:
        raise ValueError("it must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("it has a user name or password; put a token into the path or query instead")
    if parts.fragment or url.endswith("#"):
        raise ValueError("it has a fragment")
    host = (parts.hostname or "").rstrip(".")
    if not host or "%" in host:
        raise ValueError("it has no usable host")
    secure = parts.scheme == "https"
    port = (_HTTPS_PORT if secure else 80) if parts.port is None else parts.port
    trusted = _check_host(host, allowed)
    if not secure and not trusted:
        raise ValueError("it must begin with https://")
    if port == 0 or not (trusted or is_public_port(port)):
        raise ValueError("its port must be 443 or above 1023")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookUrl(secure, host, port, target)


def _check_host(host: str, allowed: Networks) -> bool:
    """Whether the host may be one of the operator's own; refuses a host that is certainly private but not one."""
    try:
        address = ip_address(host)
    except ValueError:
        # Resolvers read `2130706433`, `0x7f.1` and `127.1` as addresses, and no registered name ends in a number.
        last = host.rsplit(".", maxsplit=1)[-1]
        if last.isdigit() or last.startswith("0x"):
            raise ValueError("its host is neither a name nor a full IP address") from None
        if not allowed and ("." not in host or host.endswith(_INNER_SUFFIXES)):
            raise ValueError("its host is not a public name") from None
        return bool(allowed)
    if not may_reach(address, allowed):
        raise ValueError("its host is a private, local or reserved address")
    return any(address in network for network in allowed)


def secret_key(secret: str) -> bytes:
    """The signing key inside a ``whsec_`` secret: base64 of 24 to 64 bytes.

    Raises:
        ValueError: it is not one. The message does not repeat the secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError("a webhook secret is whsec_ and base64 of 24 to 64 bytes")
    return key


def secret_text(key: bytes) -> str:
    """The secret in the form its owner receives."""
    return _SECRET_PREFIX + base64.b64encode(key).decode()


def signed_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of one attempt. Two secrets give two signatures, so that a receiver can change over.

    `timestamp` is in seconds since 1970 and belongs to the attempt, because receivers refuse old ones.

    Raises:
        ValueError: there is no secret, or one is malformed.
    """
    if not secrets:
        raise ValueError("there is no secret to sign with")
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(secret_key(secret), content, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def wait_before_next(attempt: int, fraction: float, retry_after: int | None = None) -> int | None:
    """Seconds until the attempt after this one (from 1), None when this was the last.

    5 s, growing fourfold up to 2 h: the eight attempts span two to four hours. `fraction` (0 to 1) spreads the second
    half of each wait, so that the calls of one outage do not all come back together. A receiver's ``Retry-After`` can
    make the wait longer, never shorter.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    planned = min(_FIRST_WAIT_SECONDS * int(_WAIT_GROWTH ** (max(attempt, 1) - 1)), _LONGEST_PLANNED_WAIT_SECONDS)
    wait = round(planned * (0.5 + 0.5 * fraction))
    return min(max(wait, retry_after or 0, 1), LONGEST_WAIT_SECONDS)
