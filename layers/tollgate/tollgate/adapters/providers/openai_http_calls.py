"""HTTP calls to providers that speak OpenAI's language, with the gateway's own key and nothing of the caller's.

A call is made once: whoever was asked may have worked, and wants to be paid, though no answer came. It is made again
only where nothing was sent, or where a key was refused that has been replaced meanwhile.
"""

import time
from collections.abc import Generator
from contextlib import closing

from tollgate.adapters.aws.errors import AwsConnectionError, AwsError
from tollgate.adapters.aws.http import ClientRuntime, Endpoint, new_request
from tollgate.adapters.aws.retry import FailureKind
from tollgate.adapters.aws.streaming import LiveConnections, OpenAnswer
from tollgate.adapters.aws.translation import backend_error
from tollgate.adapters.providers.openai_http_errors import provider_error
from tollgate.adapters.providers.openai_http_request import ProviderRequest, provider_request
from tollgate.adapters.ssm_parameters import SecretParameters
from tollgate.domain.catalogue import Road
from tollgate.domain.errors import BackendError, ModelFailedError

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. More than any chat, and what a function's memory can hold several times over."""

_LARGEST_ERROR = 65_536
_CONNECT_TIMEOUT_S = 3.0
_MAX_IDLE_S = 10.0
_LOOPBACK = "127.0.0.1"


class ProviderCalls:
    """Calls providers by their roads.

    Args:
        keys: has the providers' keys.
        ca_file: a bundle of root certificates in PEM instead of the system's.
    """

    def __init__(self, keys: SecretParameters, ca_file: str | None = None) -> None:
        self._keys = keys
        self._runtime = ClientRuntime(ca_file)
        self._pools: dict[str, LiveConnections] = {}

    def open(self, road: Road, body: bytes, *, timeout_seconds: float) -> Generator[bytes]:
        """The answer in pieces; nothing is sent before the first is asked for.

        Raises:
            ModelFailedError, CapacityError, BackendThrottledError, BackendTimeoutError, BackendError: see
                `tollgate.ports.token_backends`.
        """
        backend = road.tokens
        if backend is None:
            raise BackendError(f"'{road.target}' has no provider.")
        until = time.monotonic() + timeout_seconds
        pool = self._pool(backend.url)
        host = pool.endpoint.host
        request = provider_request(backend, road.target, host, body)
        parameter = backend.api_key_parameter
        key = self._keys.get(parameter, timeout_seconds=timeout_seconds) if parameter else ""
        try:
            answer = _send(pool, request, key, until)
            if answer.status == 401 and key and (renewed := self._renewed(parameter, key, answer, until)):
                key = renewed
                answer = _send(pool, request, key, until)
            with closing(answer):
                if not 200 <= answer.status < 300:
                    said = b"".join(_bounded(answer, _LARGEST_ERROR, cut=True))
                    raise provider_error(host, answer.status, answer.headers, said, key)
                yield from _bounded(answer, LARGEST_ANSWER)
        except AwsError as error:
            raise backend_error(error, f"Provider '{host}'") from error

    def _renewed(self, parameter: str, refused: str, answer: OpenAnswer, until: float) -> str | None:
        """Another key than the refused one, whose answer is then done with; without one the refusal stands."""
        try:
            key = self._keys.renewed(parameter, refused, timeout_seconds=until - time.monotonic())
        except BackendError:
            return None
        if key is not None:
            answer.close()
        return key

    def _pool(self, url: str) -> LiveConnections:
        pool = self._pools.get(url)
        if pool is None:
            endpoint = Endpoint.parse(url)
            if not endpoint.secure and endpoint.host != _LOOPBACK:
                raise BackendError(f"The provider '{endpoint.host}' is not called without TLS.")
            pool = self._pools[url] = LiveConnections(endpoint, self._runtime, _CONNECT_TIMEOUT_S, _MAX_IDLE_S)
        return pool


def _send(pool: LiveConnections, request: ProviderRequest, key: str, until: float) -> OpenAnswer:
    try:
        return _sent(pool, request, key, until)
    except AwsConnectionError as error:
        if error.kind is not FailureKind.UNSENT:
            raise
    # Kept-alive connections that the provider has closed are as old as each other.
    pool.discard_idle()
    return _sent(pool, request, key, until)


def _sent(pool: LiveConnections, request: ProviderRequest, key: str, until: float) -> OpenAnswer:
    headers = [
        ("host", pool.endpoint.host_header),
        ("content-type", "application/json"),
        ("content-length", str(len(request.body))),
        ("accept", "text/event-stream" if request.streamed else "application/json"),
        ("user-agent", "tollgate"),
    ]
    if key:
        headers.append(("authorization", f"Bearer {key}"))
    message, body = new_request("POST", pool.endpoint.base_path + request.path, headers, request.body)
    return pool.send(message, body, timeout_s=until - time.monotonic(), operation=request.path)


def _bounded(answer: OpenAnswer, most: int, *, cut: bool = False) -> Generator[bytes]:
    """The pieces of an answer of limited size; a longer one is cut, or an error."""
    size = 0
    for piece in answer.pieces():
        size += len(piece)
        if size <= most:
            yield piece
        elif cut:
            return
        else:
            raise ModelFailedError("The provider's answer is too large.", original_status=502)
