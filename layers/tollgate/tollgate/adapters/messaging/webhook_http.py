"""Calls a client's URL with http.client, at the very address that was checked.

The name is looked up once, every address is checked, and the connection goes to a checked address, so that a name which
changes its mind between check and use (DNS rebinding) gains nothing. The certificate is still checked against the name.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

from tollgate.domain.errors import WebhookRefusedError, WebhookUnreachableError
from tollgate.domain.jobs.webhooks import Address, Networks, WebhookUrl, is_public_port, may_reach
from tollgate.ports.webhooks import WebhookAnswer

Resolver = Callable[[str, int], Sequence[Address]]

_CONNECT_SECONDS = 3.0
_ADDRESSES_TRIED = 2


def look_up(host: str, port: int) -> Sequence[Address]:
    """Addresses of a host, in the order in which the system would try them.

    Raises:
        OSError: the name is not known.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class HttpWebhookSender:
    """The `WebhookSender` that goes out to the network.

    Args:
        allowed: private networks that may be reached.
        resolve: finds the addresses of a host.
        tls: trust for https; the system's by default.
        answer_seconds: time for request and answer together, after the connection stands.
    """

    def __init__(
        self,
        *,
        allowed: Networks = (),
        resolve: Resolver = look_up,
        tls: ssl.SSLContext | None = None,
        answer_seconds: float = 8.0,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._answer_seconds = answer_seconds

    def send(self, url: WebhookUrl, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """See `WebhookSender`."""
        addresses = self._checked_addresses(url)
        with _unreachable_errors(url.host), self._connected(url, addresses) as sock:
            return _exchange(url, sock, headers, body)

    def _checked_addresses(self, url: WebhookUrl) -> Sequence[Address]:
        with _unreachable_errors(url.host):
            found = self._resolve(url.host, url.port)
        allowed = [address for address in found if may_reach(address, self._allowed)]
        if not url.secure or not is_public_port(url.port):
            # So only the operator's own networks are reached, whatever the name says.
            allowed = [address for address in allowed if any(address in network for network in self._allowed)]
        if not allowed:
            raise WebhookRefusedError("The webhook's host has no address that webhooks may reach.")
        return allowed[:_ADDRESSES_TRIED]

    @contextlib.contextmanager
    def _connected(self, url: WebhookUrl, addresses: Sequence[Address]) -> Iterator[socket.socket]:
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(_connect(addresses, url.port))
            sock.settimeout(self._answer_seconds)
            if url.secure:
                self._tls = self._tls or ssl.create_default_context()
                sock = stack.enter_context(
                    self._tls.wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
                )
            # One slow byte after the other would never run into the socket's timeout; this ends the whole exchange.
            late = threading.Event()
            watch = threading.Timer(self._answer_seconds, _end, [sock, late])
            watch.daemon = True
            watch.start()
            stack.callback(watch.cancel)
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            yield sock
            if late.is_set():  # the end of the connection looks like the end of the headers
                raise TimeoutError


def _connect(addresses: Sequence[Address], port: int) -> socket.socket:
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return socket.create_connection((str(address), port), timeout=_CONNECT_SECONDS)
    return socket.create_connection((str(last), port), timeout=_CONNECT_SECONDS)


def _exchange(url: WebhookUrl, sock: socket.socket, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
    connection = http.client.HTTPConnection(url.host, url.port)
    connection.sock = sock
    connection.putrequest("POST", url.target, skip_host=True, skip_accept_encoding=True)
    own = {"Host": url.host_header, "Content-Length": str(len(body)), "Connection": "close"}
    for name, value in (own | dict(headers)).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    try:
        return WebhookAnswer(response.status, _retry_after(response))
    finally:
        response.close()


def _end(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        # Not SSLSocket's own method, which would drop the TLS state under the thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _retry_after(response: http.client.HTTPResponse) -> int | None:
    """Seconds from a ``Retry-After`` header, which may be a number or a date; None if it is neither."""
    text = (response.getheader("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), 10**9)
    try:
        moment = parsedate_to_datetime(text)
        reference = parsedate_to_datetime(response.getheader("Date") or "")
    except (ValueError, TypeError, OverflowError):
        return None
    moment, reference = (time if time.tzinfo else time.replace(tzinfo=UTC) for time in (moment, reference))
    return max(0, round((moment - reference).total_seconds()))


@contextlib.contextmanager
def _unreachable_errors(host: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise WebhookUnreachableError(f"No answer from {host}: {type(error).__name__}.") from error
