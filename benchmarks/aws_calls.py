"""CPU of single AWS calls: boto3 beside Tollgate's transport, in one run, call by call in turn.

    python benchmarks/aws_calls.py [--rounds 40] [--calls 50] [--starts 7]

A separate process answers with fixed bytes over plain HTTP on the loopback, so what is counted (user and
system time of all threads of the calling process) is the client's own work. Neither side pays for TLS.
The second table is what a cold start pays: imports, building the client, and the first call, each in a
process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from fixed_aws import fixed_aws

KEY = {"pk": "CACHE#" + "a" * 64, "sk": "v1"}
ITEM = {
    "pk": {"S": "CACHE#" + "a" * 64},
    "sk": {"S": "v1"},
    "status": {"S": "ready"},
    "fresh_until": {"N": "1790000000"},
    "cost": {"N": "0.000123"},
    "body": {"S": "The quick brown fox jumps over the lazy dog. " * 8},
}
ANSWERS = (
    (b"GetItem", json.dumps({"Item": ITEM}).encode()),
    (b"UpdateItem", b'{"Attributes":{"committed":{"N":"12.345678"}}}'),
    (b"SendMessage", b'{"MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592","MessageId":"m-1"}'),
    (b"invocations", b'{"generated_text":"' + b"word " * 60 + b'"}'),
)
PROMPT = json.dumps({"inputs": "The quick brown fox " * 45, "parameters": {"max_new_tokens": 128}}).encode()
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "x" * 40,
    "AWS_SESSION_TOKEN": "t" * 400,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

COLD_OURS = """
import sys, time
start = time.process_time()
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
imported = time.process_time()
client = DynamoDBClient(AwsTransport(TransportConfig(region="us-east-1", dynamodb_endpoint=sys.argv[1])))
built = time.process_time()
client.get_item("t", {"pk": "a", "sk": "b"})
called = time.process_time()
print(imported - start, built - imported, called - built)
"""
COLD_BOTO3 = """
import sys, time
start = time.process_time()
import boto3
imported = time.process_time()
client = boto3.client("dynamodb", endpoint_url=sys.argv[1])
built = time.process_time()
client.get_item(TableName="t", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
called = time.process_time()
print(imported - start, built - imported, called - built)
"""


def cases(url: str) -> dict[str, dict[str, Callable[[], Any]]]:
    """The same calls by both clients, ready to be timed."""
    import boto3  # noqa: PLC0415  # the cold start measurements must not have it

    from tollgate.adapters.aws.transport import AwsTransport, TransportConfig  # noqa: PLC0415  # as above
    from tollgate.adapters.dynamodb.client import DynamoDBClient  # noqa: PLC0415  # as above
    from tollgate.adapters.messaging.sqs_client import QueueMessage, SqsClient  # noqa: PLC0415  # as above
    from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient  # noqa: PLC0415  # as above

    table = boto3.resource("dynamodb", endpoint_url=url).Table("t")
    low_level = boto3.client("dynamodb", endpoint_url=url)
    boto_queue = boto3.client("sqs", endpoint_url=url)
    boto_runtime = boto3.client("sagemaker-runtime", endpoint_url=url)

    def infer_with_boto3() -> bytes:
        answer = boto_runtime.invoke_endpoint(EndpointName="e", ContentType="application/json", Body=PROMPT)
        return answer["Body"].read()

    transport = AwsTransport(TransportConfig.from_mapping({**ENVIRONMENT, "AWS_ENDPOINT_URL": url}))
    dynamodb, queue, runtime = (
        DynamoDBClient(transport),
        SqsClient(transport),
        SageMakerRuntimeClient(transport),
    )
    update = "ADD committed :amount"
    condition = "committed <= :room"
    return {
        "get_item": {
            "boto3 Table": lambda: table.get_item(Key=KEY),
            "boto3 client": lambda: low_level.get_item(
                TableName="t", Key={"pk": {"S": KEY["pk"]}, "sk": {"S": KEY["sk"]}}
            ),
            "tollgate": lambda: dynamodb.get_item("t", KEY),
        },
        "update_item": {
            "boto3 Table": lambda: table.update_item(
                Key=KEY,
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues={":amount": 1, ":room": 99},
                ReturnValues="UPDATED_NEW",
            ),
            "boto3 client": lambda: low_level.update_item(
                TableName="t",
                Key={"pk": {"S": KEY["pk"]}, "sk": {"S": KEY["sk"]}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues={":amount": {"N": "1"}, ":room": {"N": "99"}},
                ReturnValues="UPDATED_NEW",
            ),
            "tollgate": lambda: dynamodb.update_item(
                "t",
                KEY,
                update=update,
                condition=condition,
                values={":amount": 1, ":room": 99},
                return_changed=True,
            ),
        },
        "send_message": {
            "boto3 client": lambda: boto_queue.send_message(QueueUrl=QUEUE, MessageBody="hello"),
            "tollgate": lambda: queue.send_message(QUEUE, QueueMessage("hello")),
        },
        "invoke_endpoint": {
            "boto3 client": infer_with_boto3,
            "tollgate": lambda: runtime.invoke_endpoint("e", PROMPT).body,
        },
    }


def warm(url: str, rounds: int, calls: int) -> dict[tuple[str, str], float]:
    """Median over the rounds of the CPU per call in microseconds, by operation and client."""
    table = cases(url)
    samples: dict[tuple[str, str], list[float]] = {}
    for round_number in range(rounds + 1):
        for operation, clients in table.items():
            for client, call in clients.items():
                start = time.process_time()
                for _ in range(calls):
                    call()
                spent = (time.process_time() - start) / calls * 1e6
                if round_number:  # the first round warms up
                    samples.setdefault((operation, client), []).append(spent)
    return {name: statistics.median(values) for name, values in samples.items()}


def cold(url: str, starts: int) -> dict[str, tuple[float, ...]]:
    """Median CPU in milliseconds of import, client and first call, in fresh processes."""
    samples: dict[str, list[tuple[float, ...]]] = {"boto3 client": [], "tollgate": []}
    environment = {**os.environ, **ENVIRONMENT}
    for _ in range(starts):
        for name, program in (("boto3 client", COLD_BOTO3), ("tollgate", COLD_OURS)):
            printed = subprocess.run(  # noqa: S603  # our own program, nothing from outside
                [sys.executable, "-c", program, url],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            samples[name].append(tuple(float(part) * 1000 for part in printed.stdout.split()))
    return {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True)) for name, rows in samples.items()
    }


def main() -> None:
    """Run both measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--starts", type=int, default=7)
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    with fixed_aws(ANSWERS) as url:
        started = cold(url, arguments.starts)
        measured = warm(url, arguments.rounds, arguments.calls)
    print("CPU per warm call, microseconds, median")
    for (operation, client), value in measured.items():
        print(f"  {operation:16} {client:14} {value:8.0f}")
    print("CPU of a cold start, milliseconds, median: import, client, first call, sum")
    for client, (imported, built, called) in started.items():
        print(f"  {client:14} {imported:8.1f} {built:8.1f} {called:8.1f} {imported + built + called:8.1f}")


if __name__ == "__main__":
    main()
