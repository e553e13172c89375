"""The same AWS call as a real-time request, through boto3, with nothing around it: what most handlers start from."""

from typing import Any

import boto3

_CLIENT = boto3.client("sagemaker-runtime")


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Pass the body on and the answer back."""
    answer = _CLIENT.invoke_endpoint(EndpointName="bench", ContentType="application/json", Body=event["body"])
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": answer["Body"].read().decode()}
