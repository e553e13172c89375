"""When is the first word there? The same chat streamed through the buffered integration and piece by piece.

    make bench-streaming        (on a running stack: make run DETACH=1)

Both go through the front door of one local stack to the same real model on the SageMaker stand-in, with the unmodified
`openai` package. "First" and "last" are seconds from the call to the first and the last piece of text, medians. What
the streaming function's start costs is measured apart, without a stack, as `make bench` does for the others.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from lambda_host import ROOT, cpu_ms
from openai import OpenAI

from local.launch.front_door import STREAMING_PREFIX
from local.launch.layout import DEFAULT_PORT, Layout
from local.streaming.front import function_command, function_environment
from local.streaming.lambda_service import LambdaService

QUESTION = "Write a short paragraph about toll roads."
_START_SECONDS = 30.0


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
    print(f"{model}, {tokens} tokens, median of {runs}:")
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
    start()
    layout = Layout(ROOT, options.port)
    if not layout.env_file.exists():
        print(f"No stack runs on port {options.port}: the comparison is left out. Start one with make run DETACH=1.")
        return
    variables = dict(line.split("=", 1) for line in layout.env_file.read_text().splitlines())
    compare(layout.url, variables["TOLLGATE_KEY"], model=options.model, tokens=options.tokens, runs=options.runs)


if __name__ == "__main__":
    main()
