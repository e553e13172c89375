"""`tollgate calibrate`: how long a live endpoint takes, for `models.toml` and for the planner."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from cli.arguments import add, natural
from planner.calibration import Sample, fit, places, rates

_FAILED = 2
_MOST_AT_ONCE = 32
_INPUT_WORDS = (8, 64, 256)
_OUTPUT_TOKENS = (4, 16, 48)

Invoke = Callable[[bytes], bytes]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command; it calls the endpoint itself and needs no stack."""
    parser = add(
        commands,
        "calibrate",
        "measure a live endpoint's timing and places (its time is billed)",
        "calibrate my-endpoint",
        "calibrate my-endpoint --dialect inputs --most-at-once 8",
    )
    parser.add_argument("endpoint", help="name of a real-time SageMaker endpoint that serves one model")
    parser.add_argument(
        "--dialect", choices=("messages", "inputs"), default="messages", help="of its container (default: messages)"
    )
    parser.add_argument("--rounds", type=natural, default=3, help="measurements of each size (default: 3)")
    parser.add_argument("--most-at-once", type=natural, default=16, help="most requests at once (default: 16)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run_offline=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    try:
        client = boto3.client(
            "sagemaker-runtime",
            config=Config(max_pool_connections=64, retries={"total_max_attempts": 1}, read_timeout=120),
        )
    except NoRegionError:
        print("tollgate: Set AWS_REGION to the region of the endpoint.", file=sys.stderr)
        return _FAILED
    except ValueError as error:  # botocore, of an AWS_ENDPOINT_URL that is none
        print(f"tollgate: {error}", file=sys.stderr)
        return _FAILED

    def invoke(body: bytes) -> bytes:
        answer = client.invoke_endpoint(EndpointName=arguments.endpoint, ContentType="application/json", Body=body)
        return bytes(answer["Body"].read())

    try:
        found = measure(invoke, arguments.dialect, arguments.rounds, arguments.most_at_once)
    except (ClientError, BotoCoreError, ValueError) as error:
        print(f"tollgate: {arguments.endpoint} could not be measured: {error}", file=sys.stderr)
        return _FAILED
    print(json.dumps(found, indent=2) if arguments.json else _text(found))
    return 0


def measure(
    invoke: Invoke, dialect: str, rounds: int, most_at_once: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Send one size at once in growing numbers until that gains nothing, then several sizes.

    These at the number of places that was found, as the planner wants the timing.

    Args:
        invoke: sends a body and returns the answer's.
        dialect: of the container.
        rounds: measurements of each size.
        most_at_once: of the growing numbers; they end at 32.
        clock: in seconds.

    Raises:
        ValueError: nothing was measured.
    """

    def one(words: int, tokens: int) -> Sample:
        body = _body(dialect, words, tokens)
        began = clock()
        answer = invoke(body)
        seconds = clock() - began
        read, written = _usage(answer, words, tokens)
        return Sample(read, written, seconds)

    one(_INPUT_WORDS[0], _OUTPUT_TOKENS[0])  # the first call may load weights
    most = max(1, min(most_at_once, _MOST_AT_ONCE))
    with ThreadPoolExecutor(most) as pool:

        def wave(count: int) -> float:
            began = clock()
            list(pool.map(lambda _: one(_INPUT_WORDS[1], _OUTPUT_TOKENS[1]), range(count)))
            return clock() - began

        throughput = rates(wave, most)
    together = places(throughput)
    sizes = [(w, t) for w in _INPUT_WORDS for t in _OUTPUT_TOKENS]
    samples: list[Sample] = []
    with ThreadPoolExecutor(together) as pool:
        for words, tokens in sizes:
            # All places hold the same size, so that each sample has neighbours of its own kind.
            samples += pool.map(lambda _, w=words, t=tokens: one(w, t), range(max(1, rounds) * together))
    found = fit(samples)
    timing = found.timing
    return {
        "base_seconds": round(timing.base_seconds, 4),
        "seconds_per_input_token": round(timing.seconds_per_input_token, 7),
        "seconds_per_output_token": round(timing.seconds_per_output_token, 6),
        "expected_output_tokens": timing.expected_output_tokens,
        "concurrency": together,
        "requests": len(samples),
        "error": round(found.error, 3),
        "requests_per_second": {str(count): round(rate, 2) for count, rate in throughput.items()},
    }


def _body(dialect: str, words: int, tokens: int) -> bytes:
    text = " ".join(["word"] * words)
    if dialect == "messages":
        document: Any = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens}
    else:
        document = {"inputs": text, "parameters": {"max_new_tokens": tokens}}
    return json.dumps(document).encode()


def _usage(answer: bytes, words: int, tokens: int) -> tuple[int, int]:
    """Tokens as the container counts them; where it does not, words read and the limit of what was written."""
    try:
        usage = json.loads(answer)["usage"]
        return int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (ValueError, KeyError, TypeError):
        return words, tokens


def _text(found: dict[str, Any]) -> str:
    rates = ", ".join(f"{count} at once: {rate}/s" for count, rate in found["requests_per_second"].items())
    timing = ", ".join(
        f"{name} = {found[name]}"
        for name in ("base_seconds", "seconds_per_input_token", "seconds_per_output_token", "expected_output_tokens")
    )
    return (
        f"# {found['requests']} requests, off by {found['error']:.0%} on average; {rates}\n"
        f"timing = {{ {timing} }}\n"
        f"# and in each road: concurrency = {found['concurrency']}\n"
        f"# for the planner: --concurrency {found['concurrency']} --base-seconds {found['base_seconds']} "
        f"--seconds-per-input-token {found['seconds_per_input_token']} "
        f"--seconds-per-output-token {found['seconds_per_output_token']}"
    )
