"""SageMaker's `/openai/v1/chat/completions`: OpenAI's API in front of a real-time endpoint.

It is in no service model, and takes no signed requests but a bearer token. The token is a request for the action
`CallWithBearerToken`, signed into its own URL and never sent: SageMaker checks the signature, its age and what the
role may do. Nobody is asked for one, so every call makes its own, which is worth nothing soon after. Its form is that
of AWS's `sagemaker-core` 2.27 (`sagemaker.core.token_generator`); a contract test holds it to botocore's signature.
https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-openai-compatible.html
"""

from base64 import b64encode

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.credentials import CredentialsError, RequestSigner
from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.aws.http import new_request
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.sagemaker.runtime_client import path_segment
from tollgate.domain.catalogue import Road

OPERATION = "OpenAIChatCompletions"
TOKEN_SECONDS = 300
"""SageMaker looks at the token when the call comes; the rest is for clocks that differ. AWS allows 12 hours."""

_TOKEN_HOST = "sagemaker.amazonaws.com"  # noqa: S105 -- a host
_TOKEN_PREFIX = "sagemaker-api-key-"  # noqa: S105 -- what every token begins with


def chat_call(
    signer: RequestSigner, road: Road, body: bytes, content_type: str, *, retry: RetryPolicy, timeout_seconds: float
) -> AwsCall:
    """One chat for an endpoint, or for an inference component on it, which this route takes in the path only.

    Raises:
        AwsError: there are no credentials.
    """
    component = road.inference_component
    below = "" if component is None else f"/inference-components/{path_segment(component)}"
    return AwsCall(
        service=AwsService.SAGEMAKER_RUNTIME,
        operation=OPERATION,
        path=f"/endpoints/{path_segment(road.target)}{below}/openai/v1/chat/completions",
        headers=(("content-type", content_type), ("authorization", f"Bearer {bearer_token(signer)}")),
        body=body,
        retry=retry,
        time_limit_s=timeout_seconds,
        signed=False,
    )


def bearer_token(signer: RequestSigner) -> str:
    """A token with the rights of the signer's credentials, in its region.

    Raises:
        AwsError: there are no credentials.
    """
    request, _ = new_request("POST", "/?Action=CallWithBearerToken", [("host", _TOKEN_HOST)], b"")
    try:
        signer.presign(request, "sagemaker", expires_seconds=TOKEN_SECONDS)
    except CredentialsError as error:
        raise AwsError("CredentialsError", str(error), operation=OPERATION) from error
    signed = f"{_TOKEN_HOST}{request.path}&Version=1"
    return _TOKEN_PREFIX + b64encode(signed.encode()).decode()
