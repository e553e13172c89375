"""What the gateway costs its users: CPU per request, cold start, memory, and the imports behind them.

    make bench

Each function runs under Lambda's own runtime client. Rounds are interleaved, and ratios are the figures to look at on a
shared machine. Goals: at most 1.4 ms CPU per real-time request, 180 ms init CPU, 60 MB.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from lambda_host import ROOT, Measured, measure

from tollgate.adapters.catalogue_document import catalogue_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.price_book import PriceBook

PROMPT = "The toll keeper counts the carts that pass. " * 20
ANSWER = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "A short answer. " * 20}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 80},
    }
).encode()


def catalogue_text() -> str:
    """The example catalogue, as it lies in the registry."""
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    text = (ROOT / "models.toml").read_text("utf-8")
    catalogue = read_catalogue(text, book, region="us-east-1", architecture="arm64", version=1)
    return json.dumps(catalogue_document(catalogue))


class FixedAws(BaseHTTPRequestHandler):
    """DynamoDB, SQS and the SageMaker runtime, answering with fixed bytes."""

    protocol_version = "HTTP/1.1"
    catalogue = ""

    def do_POST(self) -> None:
        """Any call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self._answer(self.headers.get("X-Amz-Target", ""), body)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, target: str, body: bytes) -> bytes:
        if not target:
            return ANSWER
        if target.endswith(".Query"):
            return b'{"Items":[],"Count":0,"ScannedCount":0}'
        if target.endswith(".GetItem"):
            key = json.loads(body)["Key"]
            if key.get("sk", {}).get("S") == "current":
                return b'{"Item":{"version":{"N":"1"}}}'
            if key.get("sk", {}).get("S", "").startswith("version#"):
                return json.dumps({"Item": {"document": {"S": self.catalogue}}}).encode()
            if key.get("pk", {}).get("S", "").startswith("key#"):
                return json.dumps({"Item": KEY_ITEM}).encode()
        return b"{}"

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


KEY_ITEM = {
    "key_id": {"S": "key_1"},
    "tenant": {"S": "acme"},
    "team": {"S": "search"},
    "scopes": {"L": [{"S": "infer"}, {"S": "read"}]},
    "created_at": {"S": "2026-03-01T12:00:00+00:00"},
}


def proxy_event() -> dict[str, Any]:
    """A real-time request as API Gateway sends it."""
    body = {"model": "smollm2", "input": PROMPT, "priority": "high", "parameters": {"max_tokens": 64}}
    return {
        "httpMethod": "POST",
        "resource": "/v1/inferences",
        "path": "/v1/inferences",
        "headers": {"Authorization": "Bearer tg_x", "Content-Type": "application/json", "User-Agent": "bench"},
        "pathParameters": None,
        "queryStringParameters": None,
        "body": json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": "00000000-0000-0000-0000-000000000000",
            "authorizer": {"tenant": "acme", "key_id": "key_1", "team": "search", "scopes": "infer read"},
        },
    }


def environment(url: str) -> dict[str, str]:
    """Of every function: fixed credentials and the fixed AWS."""
    return {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x" * 40,
        "AWS_ENDPOINT_URL": url,
        "TABLE_JOBS": "jobs",
        "TABLE_CACHE": "cache",
        "TABLE_LEDGER": "ledger",
        "TABLE_REGISTRY": "registry",
        "BUCKET": "bucket",
        "ASYNC_QUEUE_URL": f"{url}/queue/async",
        "BATCH_QUEUE_URL": f"{url}/queue/batch",
        "WEBHOOK_QUEUE_URL": f"{url}/queue/webhook",
        "STAGE": "bench",
    }


def sample(name: str) -> dict[str, Any]:
    """The first sample event of a function."""
    first = sorted((ROOT / "events" / name).glob("*.json"))[0]
    loaded: dict[str, Any] = json.loads(first.read_text("utf-8"))
    return loaded


def warm_table(url: str, rounds: int) -> None:
    """CPU per warm request, interleaved, with ratios to the floor of each round."""
    handlers = {
        "bare handler, boto3": ("bare_boto3.lambda_handler", ROOT / "benchmarks" / "handlers"),
        "bare handler, awscrt": ("bare_awscrt.lambda_handler", ROOT / "benchmarks" / "handlers"),
        "gateway, real-time": ("app.lambda_handler", ROOT / "functions" / "gateway"),
    }
    results: dict[str, list[Measured]] = {name: [] for name in handlers}
    for _ in range(rounds):
        for name, (handler, directory) in handlers.items():
            results[name].append(measure(handler, directory, proxy_event(), environment(url)))
    floor = [m.warm for m in results["bare handler, awscrt"]]
    print(
        f"{'one real-time request, 1 AWS call':36} {'CPU ms':>8} {'x floor':>8} {'init ms':>8} {'first ms':>9} {'MB':>6}"
    )
    for name, measured in results.items():
        ratios = [m.warm / f for m, f in zip(measured, floor, strict=True)]
        print(
            f"{name:36} {_median(m.warm for m in measured):8.2f} {statistics.median(ratios):8.2f} "
            f"{_median(m.init for m in measured):8.0f} {_median(m.first for m in measured):9.1f} "
            f"{_median(m.memory_mb for m in measured):6.1f}"
        )


def start_table(url: str, rounds: int) -> None:
    """Init CPU, first-invocation CPU and memory of every function."""
    print(f"\n{'function':20} {'init ms':>8} {'first ms':>9} {'MB':>6}")
    names = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    for name in names:
        event = proxy_event() if name == "gateway" else sample(name)
        try:
            runs = [
                measure("app.lambda_handler", ROOT / "functions" / name, event, environment(url), warm=1)
                for _ in range(rounds)
            ]
        except RuntimeError as error:
            # The fixed AWS cannot play every part; init is still worth knowing.
            print(f"{name:20} first invocation failed: {str(error)[:80]}")
            continue
        print(
            f"{name:20} {_median(m.init for m in runs):8.0f} {_median(m.first for m in runs):9.1f} "
            f"{_median(m.memory_mb for m in runs):6.1f}"
        )


def import_table(url: str) -> None:
    """The dearest imports of the gateway, by their own time."""
    command = [sys.executable, "-X", "importtime", "-c", "import app; app._service()"]
    directory = ROOT / "functions" / "gateway"
    paths = {"PYTHONPATH": f"{directory}:{ROOT / 'layers' / 'tollgate'}"}
    done = subprocess.run(  # noqa: S603 -- our own function
        command, env={**environment(url), **paths}, capture_output=True, text=True, check=True
    )
    packages: dict[str, int] = {}
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            package = rest.partition("|")[2].strip().split(".")[0]
            packages[package] = packages.get(package, 0) + int(own)
    print(f"\n{'gateway imports, own wall time':36} {'ms':>8}")
    for package, micros in sorted(packages.items(), key=lambda entry: -entry[1])[:12]:
        print(f"{package:36} {micros / 1000:8.1f}")


def _median(values: Any) -> float:
    return statistics.median(values)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    FixedAws.catalogue = catalogue_text()
    server = ThreadingHTTPServer(("127.0.0.1", 0), FixedAws)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    warm_table(url, arguments.rounds)
    start_table(url, max(2, arguments.rounds // 2))
    import_table(url)


if __name__ == "__main__":
    main()
