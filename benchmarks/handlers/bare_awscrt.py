"""The same AWS call as a real-time request, through the gateway's transport, with nothing around it: the floor."""

import os
from typing import Any

from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient

_CLIENT = SageMakerRuntimeClient(AwsTransport(TransportConfig.from_mapping(os.environ)))


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Pass the body on and the answer back."""
    answer = _CLIENT.invoke_endpoint("bench", event["body"].encode())
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": answer.body.decode()}
