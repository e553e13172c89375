"""A storm of requests for a sleeping endpoint: how many wakes, how long until each is answered.

The functions are wired as deployed, over moto's DynamoDB, SQS and CloudWatch and the SageMaker stand-in, all on this
machine; the endpoint takes two seconds to start, where a real one takes minutes. What counts is what Tollgate adds.
"""

import argparse
import http.client
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from functions.capacity import app as capacity
from functions.deferred import app as deferred
from functions.gateway import app as gateway
from tests.fakes.function_events import FunctionEventsServer
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place, PlaceKind

ROOT = Path(__file__).parents[1]
PLACE = Place(PlaceKind.REALTIME, "tollgate-echo-realtime")
START_SECONDS = 2.0
_QUEUES = ("ASYNC_QUEUE_URL", "BATCH_QUEUE_URL", "DEFERRED_QUEUE_URL", "WEBHOOK_QUEUE_URL")
_MODELS = """
[models.echo.deployments.small]
tier = "small"
dialect = "inputs"
instance_type = "ml.c5.xlarge"
timing = { base_seconds = 0.01 }
realtime = { endpoint = "tollgate-echo-realtime", concurrency = 16, startup_seconds = 20 }
sleep = { idle_minutes = 30 }
"""


def main() -> None:
    """Run the storm and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--gateways", type=int, default=5, help="execution environments of the gateway")
    options = parser.parse_args()
    # Every request writes its line, whatever the level.
    with _aws() as (environment, events), redirect_stdout(io.StringIO()):
        _put_to_sleep(environment)
        gateways = [gateway.build(gateway.GatewaySettings.load(environment)) for _ in range(options.gateways)]

        def ask(number: int) -> tuple[float, str]:
            began = time.perf_counter()
            answer = gateway.handle(_call(number), gateways[number % len(gateways)])
            if answer["statusCode"] != 202:
                raise SystemExit(f"expected 202, not {answer['statusCode']}: {answer['body']}")
            return time.perf_counter() - began, json.loads(answer["body"])["id"]

        began = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            accepted = list(pool.map(ask, range(options.requests)))
        storm = time.perf_counter() - began
        messages = _pump(environment, events, [identity for _, identity in accepted])
        total = time.perf_counter() - began
    latencies = sorted(seconds * 1000 for seconds, _ in accepted)
    record = messages["record"]
    print(f"{options.requests} requests at {options.gateways} gateways in {storm:.1f} s, all accepted")
    print(f"accepted in p50 {statistics.median(latencies):.1f} ms, p99 {latencies[int(len(latencies) * 0.99)]:.1f} ms")
    print(f"wake events {messages['wakes']}, times woken {messages['woken']}")
    print(f"all answered {total:.1f} s after the first request, of which the endpoint's start {START_SECONDS:.0f} s")
    for line in record.history:
        print(f"  {line.at:%H:%M:%S}  {line.phase:<14} {line.reason}")


def _pump(environment: dict[str, str], events: FunctionEventsServer, identities: list[str]) -> dict[str, Any]:
    """Hand events and messages to their functions until every job has ended; counts them."""
    keeper = capacity.build(capacity.CapacitySettings.load(environment)).keeper
    runs = [deferred.build(deferred.DeferredSettings.load(environment)) for _ in range(4)]
    sqs, places, wakes = boto3.client("sqs"), RegistryPlaces(_tables(environment), environment["TABLE_REGISTRY"]), 0
    jobs = DynamoDBJobStore(_tables(environment), environment["TABLE_JOBS"])
    while True:
        for event in events.take(environment["CAPACITY_FUNCTION"]):
            wakes += 1
            keeper.wake(Place.from_key(event["place"]))
        with ThreadPoolExecutor(len(runs)) as pool:
            for number, records in enumerate(iter(lambda: _take(sqs, environment["DEFERRED_QUEUE_URL"]), [])):
                pool.submit(deferred.handle, {"Records": records}, runs[number % len(runs)])
        record = places.get(PLACE)
        if record is None:
            raise SystemExit("the record is gone")
        ended = [job.state.value for job in jobs.get_many(identities)]
        if ended.count("completed") == len(identities):
            return {"wakes": wakes, "woken": [t.phase for t in record.history].count(Phase.WAKING), "record": record}
        keeper.tick()
        time.sleep(0.2)


def _put_to_sleep(environment: dict[str, str]) -> None:
    """Apply the catalogue, and put the endpoint to sleep as the keeper does when it was idle."""
    tables = _tables(environment)
    catalogue = read_catalogue(_MODELS, snapshot_book(), region="us-east-1", architecture="arm64", version=1)
    writer = RegistryCatalogueWriter(tables, environment["TABLE_REGISTRY"])
    writer.store(catalogue, now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    places, earlier = RegistryPlaces(tables, environment["TABLE_REGISTRY"]), datetime.now(UTC) - timedelta(hours=1)
    before = SageMakerControl().describe(PLACE)
    places.write(PlaceRecord(PLACE, Phase.AWAKE, earlier).laid_down(before, earlier, "no invocation for 30 min"))
    keeper = capacity.build(capacity.CapacitySettings.load(environment)).keeper
    while True:
        keeper.tick()
        record = places.get(PLACE)
        if record is not None and record.phase is Phase.ASLEEP:
            return
        time.sleep(0.1)


def _tables(environment: dict[str, str]) -> DynamoDBClient:
    return DynamoDBClient(AwsTransport(TransportConfig.from_mapping(environment)))


def _call(number: int) -> dict[str, Any]:
    body = {"model": "echo", "input": f"hello {number}", "priority": "high"}
    return {
        "httpMethod": "POST",
        "resource": "/v1/inferences",
        "headers": {},
        "body": json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": f"req-{number}",
            "authorizer": {"tenant": "bench", "key_id": "key_1", "team": "", "scopes": "infer"},
        },
    }


def _take(sqs: Any, url: str) -> list[dict[str, Any]]:
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:q",
            "awsRegion": "us-east-1",
        }
        for message in found
    ]


@contextmanager
def _aws() -> Iterator[tuple[dict[str, str], FunctionEventsServer]]:
    """Moto, the stand-in and a queue of events, and the environment that leads to them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    aws, standin = f"http://{host}:{port}", "http://127.0.0.1:4597"
    events = FunctionEventsServer()
    environment = {
        "AWS_ENDPOINT_URL_LAMBDA": events.url,
        "CAPACITY_FUNCTION": "tollgate-capacity",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": aws,
        **{
            f"AWS_ENDPOINT_URL_{name}": standin
            for name in ("SAGEMAKER", "SAGEMAKER_RUNTIME", "APPLICATION_AUTO_SCALING")
        },
        **{f"TABLE_{name}": name for name in ("JOBS", "LEDGER", "CACHE", "REGISTRY")},
        "BUCKET": "bench",
        "LOG_LEVEL": "CRITICAL",
    }
    os.environ.update(environment)
    _make_tables()
    sqs = boto3.client("sqs")
    environment |= {name: sqs.create_queue(QueueName=name.lower())["QueueUrl"] for name in _QUEUES}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "standin.toml"
        config.write_text(f'prefix = "tollgate"\n[start_seconds]\ndefault = {START_SECONDS}\n[models.echo]\n')
        line = [
            sys.executable,
            "-m",
            "local.sagemaker",
            "--port",
            "4597",
            "--aws-endpoint",
            aws,
            "--config",
            str(config),
        ]
        process = subprocess.Popen(  # noqa: S603 -- our own program
            line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
        )
        try:
            _wait_for(standin)
            yield environment, events
        finally:
            process.terminate()
            process.wait(20)
            moto.stop()
            events.stop()


def _make_tables() -> None:
    dynamodb = boto3.client("dynamodb")
    index = [
        {
            "IndexName": name,
            "KeySchema": [
                {"AttributeName": partition, "KeyType": "HASH"},
                {"AttributeName": "created_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        for name, partition in (("by_owner", "tenant"), ("open", "open_group"))
    ]
    names = ("job_id", "tenant", "created_at", "open_group")
    dynamodb.create_table(
        TableName="JOBS",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=index,  # type: ignore[arg-type]  # plain dictionaries
    )
    for name in ("REGISTRY", "LEDGER"):
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )


def _wait_for(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    for _ in range(300):
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        try:
            connection.request("GET", "/_standin/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise SystemExit("the stand-in did not start")


if __name__ == "__main__":
    main()
