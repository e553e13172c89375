"""What the gateway costs its users: CPU per request, cold start, memory, the imports behind them, and its AWS bill.

    make bench

Each function runs under Lambda's own runtime client. Rounds are interleaved, so that a busy machine disturbs all rows
alike; "less nothing" is what a row costs beyond a handler that does nothing. Neither side pays for TLS.
Goals: at most 1.4 ms CPU per real-time request, 0.4 ms per cache hit, 180 ms init CPU, 60 MB; $9 a million real-time
requests, $5 a million hits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from copy import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fixed_aws import Answers, fixed_aws
from gateway_bill import ARCHITECTURE, REGION, price_book, print_bill
from lambda_host import ROOT, Measured, measure

from tollgate.adapters.documents.catalogue import catalogue_document
from tollgate.adapters.dynamodb.cache.answer_packing import checksum, pack
from tollgate.adapters.dynamodb.jobs.items import to_item
from tollgate.adapters.dynamodb.values import to_attributes
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.entry import CachedAnswer
from tollgate.domain.cache.identity import request_identity, request_key
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType, Model
from tollgate.domain.jobs.job import Job, JobState, Owner, Payload, Usage

HANDLERS = ROOT / "benchmarks" / "handlers"
FUNCTIONS = ROOT / "functions"
PROMPT = "The toll keeper counts the carts that pass. " * 20
COMPLETION = {
    "choices": [{"message": {"role": "assistant", "content": "A short answer. " * 20}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 80},
}
KEY = {
    "key_id": "key_1",
    "tenant": "acme",
    "team": "search",
    "scopes": ["infer", "read"],
    "created_at": "2026-03-01T12:00:00+00:00",
}
# A page of the Price List API with a product of each instance type would be large; one is enough to go all the way.
PRICE_LIST = {
    "FormatVersion": "aws_v1",
    "PriceList": [
        json.dumps(
            {
                "product": {
                    "sku": "BENCH",
                    "attributes": {"regionCode": REGION, "component": "Hosting", "instanceName": "ml.c5.xlarge"},
                },
                "terms": {
                    "OnDemand": {
                        "BENCH.1": {"priceDimensions": {"1": {"unit": "Hrs", "pricePerUnit": {"USD": "0.2040000000"}}}}
                    }
                },
            }
        )
    ],
}
SAMPLES = {
    "gateway": "inference_high",
    "jobs": "get",
    "batch_dispatch": "schedule",
    "files_batches": "file_create",
}
"""Which sample event a function starts with; else its first one."""
_CHAT = "gateway, OpenAI chat, real-time"
_HIT = "gateway, cache hit"
_CACHED = "smollm2-cached"
MODEL_SECONDS = 0.3
MODULES_SHOWN = 14


def answers() -> Answers:
    """What DynamoDB, SQS, S3 and SageMaker say: the example catalogue, a key, a job that waits, a completion."""
    text = (ROOT / "models.toml").read_text("utf-8")
    catalogue = read_catalogue(text, price_book(), region=REGION, architecture=ARCHITECTURE, version=1)
    plain = catalogue.models["smollm2"]
    deployments = tuple(replace(deployment, model=_CACHED) for deployment in plain.deployments)
    cached = replace(plain, name=_CACHED, deployments=deployments, cache=CachePolicy())
    catalogue = replace(catalogue, models={**catalogue.models, _CACHED: cached})
    entry = cached_entry(cached)
    job = Job(
        job_id="inf_01kb3x8h5v2m9q4r7t1w6y0z3c",
        owner=Owner("acme", "key_1"),
        model="smollm2",
        deployment=catalogue.models["smollm2"].deployments[0].name,
        inference_type=InferenceType.ASYNC,
        state=JobState.QUEUED,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        route_reason="priority=medium",
        estimated_cost=Decimal("0.00001"),
        input=Payload(inline=PROMPT),
    )
    return (
        (b'"current"', _item({"version": 1})),
        (b'"version#', _item({"document": json.dumps(catalogue_document(catalogue))})),
        (b'"key#', _item(KEY)),
        (b'"inf_', _item(to_item(job))),
        # Once in five seconds the read brings along what was forgotten.
        (b"DynamoDB_20120810.BatchGetItem", json.dumps({"Responses": {"cache": [entry]}}).encode()),
        (b'"answer#', json.dumps({"Item": entry}).encode()),
        (b"DynamoDB_20120810.Query", b'{"Items":[],"Count":0,"ScannedCount":0}'),
        (b"SendMessage", b'{"MD5OfMessageBody":"","MessageId":"m-1"}'),
        (b"AWSPriceListService.GetProducts", json.dumps(PRICE_LIST).encode()),
        (b"/invocations", json.dumps(COMPLETION).encode()),
    )


def cached_entry(model: Model) -> dict[str, Any]:
    """The completion as the cache keeps it for `hit_event`."""
    policy = model.cache
    assert policy is not None  # noqa: S101 -- the caller has just set it
    sent = json.loads(hit_event()["body"])
    identity = request_identity("acme", CacheControl(), policy, model.deployments[0])
    key = request_key(identity, sent["input"], sent["parameters"])
    times = (1_700_000_000_000, 1_700_000_000_500, 4_000_000_000_000, 4_000_000_000_000)
    answer = CachedAnswer({"text": "A short answer. " * 20}, Usage(200, 80), "smollm2/main", Decimal("0.0001"), *times)
    body = pack(answer)
    names = ("began", "made", "fresh", "kept")
    item = {"cache_key": f"answer#{key}", "fence": 1, "body": body, "check": checksum(key, times, body)}
    return dict(to_attributes(item | dict(zip(names, times, strict=True))))


def hit_event() -> dict[str, Any]:
    """The real-time request, to a model with a cache that knows it."""
    event = realtime_event()
    return {**event, "body": json.dumps(json.loads(event["body"]) | {"model": _CACHED})}


def _item(values: dict[str, Any]) -> bytes:
    return json.dumps({"Item": to_attributes(values)}).encode()


def realtime_event() -> dict[str, Any]:
    """A real-time request as API Gateway sends it."""
    body = {"model": "smollm2", "input": PROMPT, "priority": "high", "parameters": {"max_tokens": 64}}
    return {**sample("gateway"), "body": json.dumps(body)}


def chat_event() -> dict[str, Any]:
    """The same request as OpenAI's clients send it."""
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": "smollm2", "messages": messages, "service_tier": "priority", "max_tokens": 64}
    chat: dict[str, Any] = json.loads((ROOT / "events" / "gateway" / "chat.json").read_text("utf-8"))
    return {**chat, "body": json.dumps(body)}


def environment(url: str) -> dict[str, str]:
    """Of every function: fixed credentials and the fixed AWS."""
    return {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x" * 40,
        "AWS_SESSION_TOKEN": "t" * 400,
        "AWS_ENDPOINT_URL": url,
        "TABLE_JOBS": "jobs",
        "TABLE_CACHE": "cache",
        "TABLE_LEDGER": "ledger",
        "TABLE_REGISTRY": "registry",
        "BUCKET": "bucket",
        "ASYNC_QUEUE_URL": f"{url}/queue/async",
        "BATCH_QUEUE_URL": f"{url}/queue/batch",
        "WEBHOOK_QUEUE_URL": f"{url}/queue/webhook",
        "DEFERRED_QUEUE_URL": f"{url}/queue/deferred",
        "CAPACITY_FUNCTION": "tollgate-capacity",
        "REFRESH_FUNCTION": "tollgate-cache",
        "PLAN_RATE": "50",
        "PLAN_BURST": "100",
        "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alarms",
        "FILE_RETENTION_DAYS": "30",
        "GATEWAY_LOG_GROUP": "/aws/lambda/bench-gateway",
        "CACHE_LOG_GROUP": "/aws/lambda/bench-cache",
        "ACCOUNT_ID": "000000000000",
        "STACK_NAME": "bench",
        "STAGE": "bench",
    }


def sample(function: str) -> dict[str, Any]:
    """A sample event of a function."""
    folder = ROOT / "events" / function
    name = SAMPLES.get(function) or min(path.stem for path in folder.glob("*.json"))
    loaded: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return loaded


def warm_table(url: str, rounds: int, requests: int) -> None:
    """CPU per warm request, and what it takes to get there."""
    rows = {
        "nothing: the runtime client alone": ("nothing.lambda_handler", HANDLERS),
        "bare handler, boto3": ("bare_boto3.lambda_handler", HANDLERS),
        "bare handler, awscrt": ("bare_awscrt.lambda_handler", HANDLERS),
        "gateway, real-time": ("app.lambda_handler", FUNCTIONS / "gateway"),
        _CHAT: ("app.lambda_handler", FUNCTIONS / "gateway"),
        _HIT: ("app.lambda_handler", FUNCTIONS / "gateway"),
    }
    events = {_CHAT: chat_event(), _HIT: hit_event()}
    results: dict[str, list[Measured]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (handler, directory) in rows.items():
            event = events.get(name) or realtime_event()
            one = measure(handler, directory, event, environment(url), warm=requests)
            if one.failure:
                raise SystemExit(f"{name} failed: {one.failure[:500]}")
            results[name].append(one)
    nothing = [m.warm for m in results["nothing: the runtime client alone"]]
    print(f"one real-time request, 1 AWS call; {rounds} rounds of {requests}, CPU in ms, median (least)")
    print(f"{'':36} {'request':>15} {'less nothing':>15} {'init':>13} {'init + first':>15}")
    for name, measured in results.items():
        net = [m.warm - n for m, n in zip(measured, nothing, strict=True)]
        print(
            f"{name:36} {_both((m.warm for m in measured), 2):>15} {_both(net, 2):>15} "
            f"{_both((m.init for m in measured), 0):>13} {_both((m.init + m.first for m in measured), 0):>15}"
        )


def start_table(url: str, rounds: int) -> None:
    """Init, first invocation and memory of every function."""
    names = sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py"))
    runs: dict[str, list[Measured]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            directory = FUNCTIONS / name
            runs[name].append(measure("app.lambda_handler", directory, sample(name), environment(url), warm=1))
    print(f"\n{'CPU in ms, median (least)':25} {'init':>12} {'init + first':>15} {'resident MB':>12} {'own MB':>8}")
    for name, measured in runs.items():
        failure = measured[0].failure
        print(
            f"{name:24} {_both((m.init for m in measured), 0):>13} "
            f"{_both((m.init + m.first for m in measured), 0):>15} "
            f"{statistics.median(m.resident_mb for m in measured):12.1f} "
            f"{statistics.median(m.own_mb for m in measured):8.1f}"
            # The fixed AWS cannot play every part to the end.
            + (f"  first answer: {failure[:60]}" if failure else "")
        )


def import_table(url: str, rounds: int) -> None:
    """The dearest modules of the gateway, by the least wall time that each itself took in some rounds."""
    directory = FUNCTIONS / "gateway"
    program = "import awslambdaric.bootstrap, app; app._service()"
    paths = os.pathsep.join(map(str, (directory, ROOT / "layers" / "tollgate")))
    least: dict[str, int] = {}
    for _ in range(rounds):
        done = subprocess.run(  # noqa: S603 -- our own function
            [sys.executable, "-X", "importtime", "-c", program],
            env={**environment(url), "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        )
        for line in done.stderr.splitlines():
            own, _, rest = line.removeprefix("import time:").partition("|")
            if own.strip().isdigit():
                module = rest.partition("|")[2].strip()
                least[module] = min(least.get(module, int(own)), int(own))
    print(f"\n{'gateway, own wall time of imports':36} {'ms':>6}   all {sum(least.values()) / 1000:.0f} ms")
    for module, micros in sorted(least.items(), key=lambda entry: -entry[1])[:MODULES_SHOWN]:
        print(f"{module:36} {micros / 1000:6.1f}")


def _both(values: Iterable[float], places: int) -> str:
    known = list(values)
    return f"{statistics.median(known):.{places}f} ({min(known):.{places}f})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--warm", action="store_true", help="the first table only")
    arguments = parser.parse_args()
    with fixed_aws(answers()) as url:
        warm_table(url, arguments.rounds, arguments.requests)
        if arguments.warm:
            return
        start_table(url, max(2, arguments.rounds // 2))
        import_table(url, arguments.rounds)
    print_bill(MODEL_SECONDS)


if __name__ == "__main__":
    main()
