"""Vectors of sentences, asked of the function that makes them while a caller waits.

A lookup can do without: what is late, throttled, broken or not there is no vector, said in the log, and after some
failures in a row the function is left alone for a while. An environment of it that is just starting takes longer than
anybody here waits; it goes on starting, so that the next ones find it ready.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.domain.json_values import json_text

if TYPE_CHECKING:
    from tollgate.adapters.aws.http import HttpResponse
    from tollgate.adapters.aws.transport import AwsTransport
    from tollgate.ports.system import Telemetry
    from tollgate.services.cache.breaker import CacheBreaker


class LambdaSentences:
    """The `SentenceVectors` of AWS.

    Args:
        transport: that sends the call.
        function: its name; empty where the stack has none.
        timeout_s: how long to wait for an answer.
        breaker: says when not to ask.
        telemetry: is told why there is no vector.
    """

    def __init__(
        self, transport: AwsTransport, function: str, *, timeout_s: float, breaker: CacheBreaker, telemetry: Telemetry
    ) -> None:
        self._transport = transport
        self._function = function
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._telemetry = telemetry

    def __call__(self, text: str) -> bytes | None:
        """See `SentenceVectors`."""
        if self._breaker.is_open():
            return None
        try:
            vector = self._asked(text) if self._function else _missing()
        except (AwsError, ValueError, KeyError, TypeError) as error:
            self._breaker.failed()
            self._telemetry.count("CacheNearDown")
            self._telemetry.log("WARNING", "no vector of a sentence, so no near match", problem=_problem(error))
            return None
        self._breaker.worked()
        return vector

    def _asked(self, text: str) -> bytes:
        response = self._transport.send(
            AwsCall(
                service=AwsService.LAMBDA,
                operation="Invoke",
                path=f"/2015-03-31/functions/{self._function}/invocations",
                headers=(("x-amz-invocation-type", "RequestResponse"),),
                body=json_text({"text": text}).encode("utf-8", "replace"),
                retry=RetryPolicy.NEVER,
                read_timeout_s=self._timeout_s,
            )
        )
        return _vector(response)


def _missing() -> bytes:
    raise ValueError("the stack has no function that makes them")


def _vector(response: HttpResponse) -> bytes:
    """The vector of an answer.

    Raises:
        ValueError, KeyError, TypeError: the function failed, or gave something else.
    """
    if response.headers.get("x-amz-function-error"):
        raise ValueError("the function failed")
    answer = json.loads(response.body)
    if not isinstance(answer, dict):
        raise ValueError("the function gave no vector")  # noqa: TRY004 -- for whoever asks it is a bad value
    return base64.b64decode(answer["vector"], validate=True)


def _problem(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
