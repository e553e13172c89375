"""TLS, and where credentials come from."""

import datetime as dt
import http.server
import ipaddress
import json
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tollgate.adapters.aws.errors import AwsConnectionError, AwsError
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient

HEAVY = ("boto3", "botocore", "s3transfer", "aws_xray_sdk", "pydantic", "awscrt.s3", "awscrt.mqtt")


def certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers everything with an empty object and remembers the protocol chosen by ALPN."""

    protocol_version = "HTTP/1.1"
    alpn: list[str | None]

    def do_POST(self) -> None:
        """Answer a call."""
        self.rfile.read(int(self.headers["content-length"]))
        if isinstance(self.connection, ssl.SSLSocket):
            type(self).alpn.append(self.connection.selected_alpn_protocol())
        self._answer(b"{}")

    def do_GET(self) -> None:
        """Answer as the container credential endpoint."""
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=6)
        self._answer(
            json.dumps(
                {
                    "AccessKeyId": "AKIDCONTAINER",
                    "SecretAccessKey": "secret",
                    "Token": self.headers["authorization"],
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            ).encode()
        )

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def start(certificate_file: Path | None = None) -> tuple[int, type[Handler]]:
        class Own(Handler):
            alpn: list[str | None] = []  # noqa: RUF012  # one list for each server

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes are wanted
        if certificate_file is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate_file, certificate_file.with_suffix(".key"))
            context.set_alpn_protocols(["h2", "http/1.1"])
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1], Own

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# After a bad certificate s2n waits longer than this, against timing attacks.
REFUSED_SECONDS = 1.5


def call(url: str, ca_file: Path | None = None, *, seconds: float = 20) -> Any:
    """One read at the given endpoint; `seconds` to connect."""
    config = TransportConfig(
        region="eu-central-1",
        dynamodb_endpoint=url,
        connect_timeout_s=seconds,
        max_attempts=1,
        ca_file=None if ca_file is None else str(ca_file),
    )
    return DynamoDBClient(AwsTransport(config)).get_item("t", {"pk": "a"})


def test_tls_with_a_trusted_root(serve: Any, tmp_path: Path) -> None:
    """A certificate under the configured root is accepted, and HTTP/1.1 is agreed on."""
    trusted = certificate(tmp_path, "localhost")
    port, handler = serve(trusted)
    assert call(f"https://localhost:{port}", trusted) is None
    assert handler.alpn == ["http/1.1"]


def test_preparing_opens_nothing(serve: Any, tmp_path: Path) -> None:
    """Start-up work reads the roots, makes no event loop and connects nowhere; a bad bundle shows at once."""
    trusted = certificate(tmp_path, "localhost")
    port, handler = serve(trusted)
    config = TransportConfig("eu-central-1", f"https://localhost:{port}", ca_file=str(trusted))
    transport = AwsTransport(config)
    transport.prepare()
    assert transport._runtime._tls_context is not None
    assert transport._runtime._bootstrap is None
    assert handler.alpn == []
    DynamoDBClient(transport).get_item("t", {"pk": "a"})
    assert handler.alpn == ["http/1.1"]
    with pytest.raises(AwsConnectionError, match="root certificates"):
        AwsTransport(config._replace(ca_file=str(tmp_path / "none.pem"))).prepare()


def test_tls_without_trust_is_refused(serve: Any, tmp_path: Path) -> None:
    """A certificate under no known root ends the connection before anything is sent."""
    port, handler = serve(certificate(tmp_path, "localhost"))
    with pytest.raises(AwsConnectionError) as failed:
        call(f"https://localhost:{port}", seconds=REFUSED_SECONDS)
    assert failed.value.code == "ConnectionFailed"
    assert handler.alpn == []


def test_tls_for_another_host_is_refused(serve: Any, tmp_path: Path) -> None:
    """A trusted certificate of another host ends the connection."""
    other = certificate(tmp_path, "example.org")
    port, handler = serve(other)
    with pytest.raises(AwsConnectionError):
        call(f"https://localhost:{port}", other, seconds=REFUSED_SECONDS)
    assert handler.alpn == []


def test_unreadable_roots(serve: Any, tmp_path: Path) -> None:
    """A bundle that is not there is named as the reason."""
    port, _ = serve(certificate(tmp_path, "localhost"))
    with pytest.raises(AwsConnectionError, match="root certificates"):
        call(f"https://localhost:{port}", tmp_path / "none.pem")


def test_credentials_of_a_restored_snapshot(
    serve: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without keys in the environment, as with SnapStart, the container endpoint is asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    port, _ = serve()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "restored")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    call(recorder.url)
    headers = recorder.requests[0].headers
    assert "Credential=AKIDCONTAINER/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "restored"


def test_no_credentials_at_all(recorder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The call fails with a code of its own and nothing is sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AwsError) as failed:
        call(recorder.url)
    assert failed.value.code == "CredentialsError"
    assert recorder.requests == []


FROZEN = """
import sys
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
url = sys.argv[1]
transport = AwsTransport(
    TransportConfig("eu-central-1", dynamodb_endpoint=url, sagemaker_runtime_endpoint=url, max_attempts=1)
)
for _ in range(2):
    DynamoDBClient(transport).get_item("t", {"pk": "a"})
    SageMakerRuntimeClient(transport).invoke_endpoint("e", b"{}")
    print("called", flush=True)
    sys.stdin.readline()
"""


def test_freeze_and_thaw(recorder: Any) -> None:
    """A process that was frozen while the server hung up goes on without an error, as on Lambda."""
    paths = json.dumps([path for path in sys.path if path])
    with subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{FROZEN}", recorder.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "called\n"
        process.send_signal(signal.SIGSTOP)
        recorder.drop_connections()
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n\n")
        process.stdin.flush()
        assert process.stdout.readline() == "called\n"
        process.stdin.close()
        assert process.wait(10) == 0
    assert [request.connection for request in recorder.requests] == [1, 2, 3, 4]


def test_light_imports() -> None:
    """The modules of the hot path bring in none of the heavy packages."""
    program = (
        "import sys\n"
        "import tollgate.adapters.dynamodb.client, tollgate.adapters.messaging.sqs_client\n"
        "import tollgate.adapters.sagemaker.runtime_client\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    paths = json.dumps([path for path in sys.path if path])
    printed = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{program}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.strip() == "[]"
