"""When is the first word there? The same chat answered piece by piece, and as a whole.

    make bench-streaming

The streaming function's own handler, its Runtime API loop and SageMaker's event stream are the real ones, over real
connections; SmolLM2 is on the SageMaker stand-in; tables and queues are in memory. "First" and "last" are seconds from
the event to the first and the last piece that leaves the function, medians; the model has seen the question before, so
it begins at once. Where a stack runs, the same goes through its front door with the unmodified `openai` package:

    make run DETACH=1 && make bench-streaming

What the function's start costs is measured apart, as `make bench` does for the others.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from copy import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

from lambda_host import ROOT, cpu_ms
from openai import OpenAI

from functions.streaming import app as streaming
from local.launch.front_door import STREAMING_PREFIX
from local.launch.layout import DEFAULT_PORT, Layout
from local.streaming.front import function_command, function_environment
from local.streaming.lambda_service import LambdaService
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, proxy_event
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.lambda_runtime import ResponseStream, RuntimeLoop
from tollgate.adapters.sagemaker.realtime import SageMakerRealtime
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sagemaker.stream import SageMakerStream
from tollgate.adapters.system import SystemClock
from tollgate.api.http import read_call
from tollgate.api.outlet import send
from tollgate.domain.catalogue import InferenceType, Priority

QUESTION = "Write a short paragraph about toll roads."
_START_SECONDS = 30.0
_PORT = 4597
_ENDPOINT = "tollgate-smollm2-realtime"


def _gateway(url: str) -> FakeGateway:
    """The services of the function, with the real endpoint and everything else in memory."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (deployment,) = model.deployments
    road = replace(deployment.roads[InferenceType.REALTIME], target=_ENDPOINT)
    roads = {**deployment.roads, InferenceType.REALTIME: road}
    model = replace(
        model,
        name="smollm2",
        default_priority=Priority.HIGH,
        deployments=(replace(deployment, dialect="messages", roads=roads),),
    )
    # Real time; the fake only offers to move it by hand.
    gateway = FakeGateway(catalogue=replace(catalogue, models={"smollm2": model}), clock=cast("Any", SystemClock()))
    config = TransportConfig(region="us-east-1", sagemaker_runtime_endpoint=url)
    gateway.stream.open = SageMakerStream(StreamingTransport(config)).open  # type: ignore[method-assign]
    realtime = SageMakerRealtime(SageMakerRuntimeClient(AwsTransport(config)))
    gateway.realtime.invoke = realtime.invoke  # type: ignore[method-assign]
    return gateway


def on_the_standin(*, tokens: int, runs: int) -> None:
    """Print both ways through the function alone."""
    python = ROOT / ".venv" / "standin" / "bin" / "python"
    url = f"http://127.0.0.1:{_PORT}"
    with tempfile.TemporaryDirectory() as folder:
        line = [str(python), "-m", "local.sagemaker", "--port", str(_PORT), "--state-dir", folder]
        line += ["--aws-endpoint", "http://127.0.0.1:1"]
        process = subprocess.Popen(  # noqa: S603 -- our own program
            line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
        )
        try:
            _wait_for(_PORT)
            print(f"through the function, {tokens} tokens of SmolLM2, median of {runs}:")
            for name, live in (("as a whole", False), ("in pieces", True)):
                first, last, pieces = _through_the_function(url, live=live, tokens=tokens, runs=runs)
                print(f"  {name:<12} first {first:6.3f} s   last {last:6.3f} s   in {pieces} pieces")
        finally:
            process.terminate()
            process.wait(timeout=20)


def _through_the_function(url: str, *, live: bool, tokens: int, runs: int) -> tuple[float, float, int]:
    gateway = _gateway(url)
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": tokens,
        "stream": True,
    }

    def handle(event: dict[str, Any], stream: ResponseStream) -> None:
        if live:
            streaming.handle(event, gateway.api, stream)
        else:
            # As the gateway function answers, which has nowhere to send pieces to.
            send(gateway.api.respond(read_call(event)), stream)

    found = []
    with LambdaService() as service, closing(RuntimeLoop(service.address)) as loop:
        for _ in range(runs + 1):
            thread = threading.Thread(target=loop.answer_one, args=(handle,))
            thread.start()
            began = time.monotonic()
            invocation = service.invoke(proxy_event("POST /v1/chat/completions", json.dumps(body)))
            invocation.head()
            times = [time.monotonic() - began for piece in invocation.pieces() if b'"content":' in piece]
            found.append((times[0], times[-1], len(times)))
            thread.join()
    found = found[1:]
    return median(run[0] for run in found), median(run[1] for run in found), found[-1][2]


def _wait_for(port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def streamed(client: OpenAI, model: str, tokens: int) -> tuple[float, float, int]:
    """Seconds to the first and to the last piece of text, and how many pieces there were."""
    began = time.monotonic()
    with client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=tokens,
        stream=True,
        service_tier="priority",
    ) as stream:
        times = [time.monotonic() - began for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    return times[0], times[-1], len(times)


def compare(url: str, key: str, *, model: str, tokens: int, runs: int) -> None:
    """Print both ways side by side."""
    print(f"through the front door, {tokens} tokens of {model}, median of {runs}:")
    for name, base in (("buffered", url), ("incremental", url + STREAMING_PREFIX)):
        with OpenAI(base_url=f"{base}/v1", api_key=key, timeout=120, max_retries=0) as client:
            streamed(client, model, 4)
            found = [streamed(client, model, tokens) for _ in range(runs)]
        first, last = median(run[0] for run in found), median(run[1] for run in found)
        print(f"  {name:<12} first {first:6.3f} s   last {last:6.3f} s   in {found[-1][2]} pieces")


def start() -> None:
    """Print what the function's start costs, until it asks for its first event."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "us-east-1",
        "BUCKET": "b",
        "ASYNC_QUEUE_URL": "http://127.0.0.1/q",
        "BATCH_QUEUE_URL": "http://127.0.0.1/q",
        **{f"TABLE_{name}": name for name in ("JOBS", "LEDGER", "CACHE", "REGISTRY")},
    }
    task_root = ROOT / "functions" / "streaming"
    used = []
    for _ in range(5):
        with LambdaService() as service:
            variables = environment | function_environment(
                task_root, str(ROOT / "layers" / "tollgate"), service.address
            )
            command = function_command(task_root, Path(sys.executable))
            with subprocess.Popen(command, env=variables) as process:  # noqa: S603 -- our own function
                until = time.monotonic() + _START_SECONDS
                while service.idle < 1 and time.monotonic() < until:
                    time.sleep(0.02)
                used.append(cpu_ms(process.pid))
                process.kill()
    print(f"streaming function, CPU until it asks for its first event: {median(used):.0f} ms (median of {len(used)})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("TOLLGATE_PORT", DEFAULT_PORT)))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "up", "AWS_EC2_METADATA_DISABLED": "true"}
    start()
    on_the_standin(tokens=options.tokens, runs=options.runs)
    layout = Layout(ROOT, options.port)
    if not layout.env_file.exists():
        print(f"No stack runs on port {options.port}: its front door is left out. Start one with make run DETACH=1.")
        return
    variables = dict(line.split("=", 1) for line in layout.env_file.read_text().splitlines())
    compare(layout.url, variables["TOLLGATE_KEY"], model=options.model, tokens=options.tokens, runs=options.runs)


if __name__ == "__main__":
    main()
