"""`/openai/v1/chat/completions` of an endpoint or an inference component, as SageMaker has it since May 2026.

It takes a bearer token and no signature, hands the body to the container as it is, sends back what the container says,
and reports errors in OpenAI's shape.
https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-openai-compatible.html
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from copy import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from local.sagemaker.runtime import Runtime
from local.sagemaker.wire import Reply, Request, ServiceError, validation_error

PATH = ("openai", "v1", "chat", "completions")
_TOKEN_PREFIX = "Bearer sagemaker-api-key-"  # noqa: S105 -- what every token begins with
_COMPONENT = "x-amzn-sagemaker-inference-component"
_CODES: Mapping[str, str] = {"ModelError": "model_error", "ValidationError": "validation_error"}


class OpenAIRoute:
    """Answers chats for endpoints.

    Args:
        runtime: runs the models.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @staticmethod
    def serves(path: list[str]) -> bool:
        """Whether the parts of a path, after the endpoint's name, lead here."""
        return tuple(path[-4:]) == PATH and (len(path) == 4 or (len(path) == 6 and path[0] == "inference-components"))

    async def answer(self, endpoint: str, component: str | None, request: Request) -> Reply:
        """Answer one chat, streamed if its body says so."""
        try:
            _check_token(request.header("authorization") or "", datetime.now(UTC))
            if request.header(_COMPONENT):
                raise validation_error("The inference component is named in the path of this route.")
            if component is not None:
                request = replace(request, headers={**request.headers, _COMPONENT: component})
            if _wants_stream(request.body):
                return await self._runtime.invoke_events(endpoint, request)
            return await self._runtime.invoke(endpoint, request)
        except ServiceError as error:
            return _problem(error)


def _check_token(authorization: str, now: datetime) -> None:
    """Refuse a call whose token does not let it in.

    Raises:
        ServiceError: 403.
    """
    try:
        fault = _fault_in(authorization, now)
    except (KeyError, ValueError) as error:
        fault = f"it cannot be read ({error})"
    if fault is not None:
        raise ServiceError(403, "AccessDeniedException", f"The token was not accepted: {fault}.")


def _fault_in(authorization: str, now: datetime) -> str | None:
    """What is wrong with a token, as far as anybody but AWS can tell: the signature is not checked.

    Raises:
        KeyError, ValueError: it is no token.
    """
    if not authorization.startswith(_TOKEN_PREFIX):
        return "there is no bearer token"
    url = urlsplit("https://" + b64decode(authorization.removeprefix(_TOKEN_PREFIX), validate=True).decode())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if (url.netloc, query["Action"], query["Version"]) != ("sagemaker.amazonaws.com", "CallWithBearerToken", "1"):
        return "it is for something else"
    if query["X-Amz-Credential"].split("/")[3:] != ["sagemaker", "aws4_request"] or not query["X-Amz-Signature"]:
        return "it is not signed for sagemaker"
    made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    lives = timedelta(seconds=int(query["X-Amz-Expires"]))
    return None if made - timedelta(minutes=5) <= now < made + lives else "it has expired"


def _wants_stream(body: bytes) -> bool:
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("stream") is True


def _problem(error: ServiceError) -> Reply:
    kind = "server_error" if error.code == "ModelError" else "invalid_request_error"
    said, status = error.message, error.status
    if error.code == "ModelError":
        status = error.members.get("OriginalStatusCode") or 504
        side = "client" if status < 500 else "server"
        quoted = error.members.get("OriginalMessage")
        said = f'Received {side} error ({status}) from standin with message "{quoted}". See the log for more.'
    body = {"error": {"message": said, "type": kind, "code": _CODES.get(error.code, error.code)}}
    return Reply(status, json.dumps(body).encode(), {"content-type": "application/json"})
