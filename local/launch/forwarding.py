"""The pure part of the front door: which path and headers a request takes on to the emulator, and which come back."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

Headers = list[tuple[str, str]]

# RFC 9110, section 7.6.1: these belong to one connection, not to the message.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Named again by the HTTP client for its own connection, or answered by the front door itself.
_REPLACED = frozenset({"host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"})
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Target:
    """The deployed API behind the front door.

    Args:
        emulator_url: Base URL of the emulator, without a slash at its end.
        api_id: The REST API's id.
        stage: The API's stage.
    """

    emulator_url: str
    api_id: str
    stage: str

    def url(self, raw_target: str) -> str | None:
        """The emulator's URL for a request target as it stood on the wire, query included.

        Returns:
            `None` for a target that is not a plain absolute path, or that climbs out of the API with `..`: behind the
            API lies the whole emulator.
        """
        path = raw_target.partition("?")[0]
        if not path.startswith("/") or ".." in unquote(path).replace("\\", "/").split("/"):
            return None
        return f"{self.emulator_url}/_aws/execute-api/{self.api_id}/{self.stage}{raw_target}"


def request_headers(received: Iterable[tuple[str, str]], client_address: str, port: int) -> Headers:
    """The headers to send on.

    API Gateway's `ApiKeySourceType: AUTHORIZER` takes the usage plan's key from the authorizer, and Tollgate's
    authorizer answers with the SHA-256 of the client's secret. The emulator knows the header `x-api-key` only, so the
    front door puts that hash there, and the secret into `Authorization`, wherever the client had put it.
    """
    received = list(received)
    kept = [(name, value) for name, value in _end_to_end(received) if name.lower() not in _REPLACED]
    kept += [("X-Forwarded-For", client_address), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Port", str(port))]
    secret = client_secret(received)
    if secret is None:
        return kept
    kept = [(name, value) for name, value in kept if name.lower() not in {"authorization", "x-api-key"}]
    return [*kept, ("Authorization", f"Bearer {secret}"), ("x-api-key", hashlib.sha256(secret.encode()).hexdigest())]


def response_headers(received: Iterable[tuple[str, str]]) -> Headers:
    """The headers to give back to the client; the front door frames the body itself."""
    return [(name, value) for name, value in _end_to_end(received) if name.lower() not in {"content-length", "date"}]


def client_secret(headers: Iterable[tuple[str, str]]) -> str | None:
    """The secret key of a request: the bearer token, or else `x-api-key`; `None` when there is neither."""
    bearer = api_key = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == "authorization" and value.lower().startswith(_BEARER):
            bearer = value[len(_BEARER) :].strip()
        elif lowered == "x-api-key":
            api_key = value.strip()
    return bearer or api_key or None


def _end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    headers = list(headers)
    named = {
        token.strip().lower() for name, value in headers if name.lower() == "connection" for token in value.split(",")
    }
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP | named]
