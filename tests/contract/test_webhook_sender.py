"""The real sender against receivers on this machine, and the secrets in a real table."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.webhooks import InMemoryWebhookSecrets
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.adapters.messaging.webhook_http import HttpWebhookSender, look_up
from tollgate.domain.errors import WebhookRefusedError, WebhookUnreachableError
from tollgate.domain.jobs.webhooks import Address, check_webhook_url, parse_networks, secret_text
from tollgate.ports.webhooks import WebhookAnswer

LOOPBACK = parse_networks("127.0.0.0/8")
NAME = "hooks.example.test"
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


class Receiver(ThreadingHTTPServer):
    """Keeps what it was sent and answers as it was told."""

    daemon_threads = True

    def __init__(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.headers = headers or {}
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers.items()), body))
        self.send_response_only(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def running(receiver: Receiver) -> Iterator[Receiver]:
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


def post(receiver: Receiver, sender: HttpWebhookSender | None = None) -> WebhookAnswer:
    url = check_webhook_url(f"http://127.0.0.1:{receiver.port}/in?a=1", LOOPBACK)
    return (sender or HttpWebhookSender(allowed=LOOPBACK)).send(url, {"webhook-id": "inf_1"}, b'{"a": "\xc3\xbc"}')


def test_the_receiver_gets_exactly_what_was_signed() -> None:
    """Body, target and headers arrive unchanged."""
    with running(Receiver(204)) as receiver:
        assert post(receiver) == WebhookAnswer(204)
    target, headers, body = receiver.seen[0]
    assert (target, body) == ("/in?a=1", b'{"a": "\xc3\xbc"}')
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["webhook-id"] == "inf_1"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """Otherwise a public receiver could point inside."""
    with running(Receiver()) as inside, running(Receiver(status)) as receiver:
        receiver.headers["Location"] = f"http://127.0.0.1:{inside.port}/secret"
        assert post(receiver).status == status
    assert inside.seen == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT", "Date": DATE}, 90),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT", "Date": DATE}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], seconds: int | None) -> None:
    """A date counts from the receiver's own clock; what is neither is ignored."""
    with running(Receiver(503, headers)) as receiver:
        assert post(receiver) == WebhookAnswer(503, seconds)


def test_private_addresses_are_refused_whatever_the_name_says() -> None:
    """A public name that leads inside gets no connection."""
    with running(Receiver()) as receiver:
        for addresses in (["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1", "::1"], ["::ffff:127.0.0.1"], []):
            sender = HttpWebhookSender(resolve=_resolver(addresses))
            with pytest.raises(WebhookRefusedError):
                sender.send(check_webhook_url(f"https://{NAME}:{receiver.port}/"), {}, b"{}")
    assert receiver.seen == []


def test_http_reaches_only_the_operators_own_networks() -> None:
    """A name that passed because networks are allowed still cannot take plain http to the public."""
    url = check_webhook_url(f"http://{NAME}/", LOOPBACK)
    with pytest.raises(WebhookRefusedError):
        HttpWebhookSender(allowed=LOOPBACK, resolve=_resolver(["8.8.8.8"])).send(url, {}, b"{}")


@pytest.mark.parametrize("port", [22, 25, 80, 1023])
def test_a_privileged_port_is_for_the_operators_own_networks(port: int) -> None:
    """A name is let through where there are such networks; then its address decides, for https as well."""
    url = check_webhook_url(f"https://{NAME}:{port}/", LOOPBACK)
    with pytest.raises(WebhookRefusedError):
        HttpWebhookSender(allowed=LOOPBACK, resolve=_resolver(["8.8.8.8"])).send(url, {}, b"{}")


def test_the_checked_address_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up once: a second look, which could say something else, never happens."""
    lookups: list[str] = []

    def changing(host: str, _port: int) -> Sequence[Address]:
        lookups.append(host)
        return [ip_address("127.0.0.1" if len(lookups) == 1 else "127.0.0.2")]

    with running(Receiver()) as receiver:
        connected: list[tuple[str, int]] = []
        real = socket.create_connection

        def watched(address: tuple[str, int], timeout: float) -> socket.socket:
            connected.append(address)
            return real(address, timeout=timeout)

        monkeypatch.setattr(socket, "create_connection", watched)
        url = check_webhook_url(f"http://{NAME}:{receiver.port}/", LOOPBACK)
        assert HttpWebhookSender(allowed=LOOPBACK, resolve=changing).send(url, {}, b"{}").status == 200
    assert lookups == [NAME]
    assert connected == [("127.0.0.1", receiver.port)]
    assert receiver.seen[0][1]["Host"] == f"{NAME}:{receiver.port}"


def test_a_second_address_is_tried() -> None:
    """One dead address of a host does not make it unreachable, and forbidden ones are passed over."""
    own = (*LOOPBACK, *parse_networks("::1/128"))
    with running(Receiver()) as receiver:
        sender = HttpWebhookSender(allowed=own, resolve=_resolver(["10.0.0.1", "::1", "127.0.0.1"]))
        url = check_webhook_url(f"http://{NAME}:{receiver.port}/", own)
        assert sender.send(url, {}, b"{}").status == 200


def _silent(connection: socket.socket) -> None:
    connection.settimeout(30)
    with contextlib.suppress(OSError):
        while connection.recv(1000):
            pass


def _dripping(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
        for _ in range(600):
            connection.sendall(b"x")
            time.sleep(0.05)


def _closing(connection: socket.socket) -> None:
    connection.recv(10)


def _talking_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"220 smtp.example.com ready\r\n")


def _endless(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000):
            connection.sendall(f"x-{number}: {'y' * 100}\r\n".encode())


@pytest.mark.parametrize("behaviour", [_silent, _dripping, _closing, _talking_nonsense, _endless])
def test_bad_receivers_cost_a_bounded_time(behaviour: Callable[[socket.socket], None]) -> None:
    """Whatever a receiver does, the attempt ends by the deadline with one kind of error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behaviour(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        url = check_webhook_url(f"http://127.0.0.1:{listener.getsockname()[1]}/", LOOPBACK)
        started = time.monotonic()
        with pytest.raises(WebhookUnreachableError):
            HttpWebhookSender(allowed=LOOPBACK, answer_seconds=0.5).send(url, {}, b"{}")
        assert time.monotonic() - started < 10  # of the thirty that the slow ones take
        thread.join()


def test_nobody_there() -> None:
    """A refused connection and an unknown name are told in the same way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(WebhookUnreachableError):
        HttpWebhookSender(allowed=LOOPBACK).send(check_webhook_url(f"http://127.0.0.1:{port}/", LOOPBACK), {}, b"{}")

    def unknown(host: str, _port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, host)

    with pytest.raises(WebhookUnreachableError):
        HttpWebhookSender(resolve=unknown).send(check_webhook_url(f"https://{NAME}/"), {}, b"{}")


def test_the_systems_resolver_gives_addresses() -> None:
    """Each once, as addresses."""
    assert look_up("127.0.0.1", 80) == [ip_address("127.0.0.1")]


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize(("named", "trusted"), [(NAME, True), ("other.example.test", False)])
def test_certificates_are_checked_against_the_name_though_an_address_is_called(
    tmp_path: Path, named: str, trusted: bool
) -> None:
    """Calling the checked address gives up nothing of TLS."""
    certificate, key = _certificate(tmp_path, named)
    receiver = Receiver()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    receiver.socket = server_side.wrap_socket(receiver.socket, server_side=True, do_handshake_on_connect=False)
    sender = HttpWebhookSender(
        allowed=LOOPBACK,
        resolve=_resolver(["127.0.0.1"]),
        tls=ssl.create_default_context(cafile=str(certificate)),
    )
    with running(receiver):
        url = check_webhook_url(f"https://{NAME}:{receiver.port}/", LOOPBACK)
        if trusted:
            assert sender.send(url, {}, json.dumps({"a": 1}).encode()).status == 200
        else:
            with pytest.raises(WebhookUnreachableError):
                sender.send(url, {}, b"{}")
    assert len(receiver.seen) == int(trusted)


def _resolver(addresses: Sequence[str]) -> Callable[[str, int], Sequence[Address]]:
    return lambda _host, _port: [ip_address(address) for address in addresses]


@pytest.fixture(params=["memory", "dynamodb"])
def secrets(request: pytest.FixtureRequest) -> InMemoryWebhookSecrets | RegistryWebhookSecrets:
    if request.param == "memory":
        return InMemoryWebhookSecrets()
    aws: LocalAws = request.getfixturevalue("aws")
    return RegistryWebhookSecrets(aws.dynamodb, REGISTRY_TABLE)


def test_a_tenants_secrets(secrets: InMemoryWebhookSecrets | RegistryWebhookSecrets) -> None:
    """None, then one, then two while it changes over, then one again; another tenant's are its own."""
    first, second = secret_text(bytes(24)), secret_text(bytes(range(24)))
    assert list(secrets.of("acme")) == []
    secrets.store("acme", first)
    assert list(secrets.of("acme")) == [first]
    secrets.store("acme", second, earlier=first)
    assert list(secrets.of("acme")) == [second, first]
    secrets.store("acme", second)
    assert list(secrets.of("acme")) == [second]
    assert list(secrets.of("other")) == []
