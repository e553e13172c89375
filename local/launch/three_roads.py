"""One request down each road, with real models: the proof at the end of the start that everything works together."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from local.launch.errors import ExampleFailedError

JOB_SECONDS = 120.0
POLL_SECONDS = 0.3
ANSWER_CHARACTERS = 160
ENDED_WELL = "completed"
ENDED_BADLY = frozenset({"failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Example:
    """A request for one road."""

    road: str
    body: dict[str, Any]


EXAMPLES = (
    Example(
        "real-time",
        {
            "model": "smollm2",
            "input": "What does a toll booth do? Answer in one sentence.",
            "priority": "high",
            "parameters": {"max_tokens": 40},
        },
    ),
    Example("async", {"model": "minilm", "input": "A toll booth in front of your models.", "priority": "medium"}),
    Example("batch", {"model": "langid", "input": "Der billigste Weg, der noch reicht.", "priority": "low"}),
)


@dataclass(frozen=True, slots=True)
class RoadReport:
    """What came of one example, ready to print. Costs are in dollars; `None` is unknown."""

    road: str
    model: str
    reason: str
    answer: str
    cost: Decimal | None
    avoided: Decimal | None
    seconds: float

    @property
    def baseline(self) -> Decimal | None:
        """What the same request would have cost on the always-on baseline."""
        return None if self.cost is None or self.avoided is None else self.cost + self.avoided

    def lines(self) -> list[str]:
        """The report as a person reads it."""
        return [
            f"  {self.road:<10} {self.model}: {self.answer}",
            f"  {'':<10} why: {self.reason}",
            f"  {'':<10} cost {dollars(self.cost)}, always-on baseline {dollars(self.baseline)}, {self.seconds:.1f} s",
        ]


def dollars(amount: Decimal | None) -> str:
    """An amount to a hundredth of a millionth: single requests cost millionths of a dollar."""
    return "unknown" if amount is None else f"${amount:.8f}"


def answer_text(output: Any) -> str:
    """The gist of a model's output on one line: a generated text as it is, anything else as shortened JSON."""
    if isinstance(output, dict) and isinstance(output.get("text"), str):
        output = output["text"]
    text = " ".join((output if isinstance(output, str) else json.dumps(_rounded(output))).split())
    return text if len(text) <= ANSWER_CHARACTERS else f"{text[:ANSWER_CHARACTERS]}..."


def _rounded(output: Any) -> Any:
    """The same JSON with three digits after the point: enough to see that there are numbers."""
    if isinstance(output, float):
        return round(output, 3)
    if isinstance(output, list):
        return [_rounded(part) for part in output]
    return {name: _rounded(part) for name, part in output.items()} if isinstance(output, dict) else output


READING_THE_COSTS = (
    "  (One small request saves nothing: most of what the last two cost is the gateway itself, and a batch of one",
    "  record pays its job's whole start-up. Real-time on the always-on endpoint avoids nothing either. Savings come",
    "  from many that share a start, and from endpoints that sleep: ./tollgate estimate --requests-per-day 5000)",
)


def curl(example: Example) -> str:
    """A line to paste into a shell in which `TOLLGATE_URL` and `TOLLGATE_KEY` are set."""
    body = json.dumps(example.body).replace("'", "'\\''")
    return f"curl -s $TOLLGATE_URL/v1/inferences -H \"Authorization: Bearer $TOLLGATE_KEY\" -d '{body}'"


def money(value: Any) -> Decimal | None:
    """A decimal string of an answer's `cost`; `None` when it is not there."""
    return None if value is None else Decimal(str(value))


@dataclass(frozen=True, slots=True)
class _Sent:
    """An example that was accepted: when it left, when its first answer was there, and that answer."""

    example: Example
    began: float
    answered: float
    headers: Mapping[str, str]
    answer: dict[str, Any]


async def drive(base_url: str, key: str) -> AsyncGenerator[RoadReport]:
    """Sends the examples and yields each report as soon as its answer is there.

    They leave one after the other, the slowest road first: the emulator starts one worker for each call at a time, and
    a cold start there takes seconds.

    Raises:
        ExampleFailedError: a request was refused, failed, or got no answer in time.
    """
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession(base_url, headers=headers, timeout=ClientTimeout(total=120)) as session:
        sent = [await _send(session, example) for example in reversed(EXAMPLES)]
        tasks = [asyncio.create_task(_follow(session, one)) for one in reversed(sent)]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()


async def _send(session: ClientSession, example: Example) -> _Sent:
    began = time.monotonic()
    headers, answer = await _call(session, example, "POST", "/v1/inferences", example.body)
    return _Sent(example, began, time.monotonic(), headers, answer)


async def _follow(session: ClientSession, sent: _Sent) -> RoadReport:
    example, answer, ended = sent.example, sent.answer, sent.answered
    while answer.get("status") != ENDED_WELL:
        if answer.get("status") in ENDED_BADLY:
            raise _failed(example, f"ended as {answer['status']}: {json.dumps(answer.get('error'))}")
        if time.monotonic() - sent.began > JOB_SECONDS:
            raise _failed(example, f"is still {answer.get('status')} after {JOB_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
        _, answer = await _call(session, example, "GET", f"/v1/inferences/{answer['id']}", None)
        ended = time.monotonic()
    cost = answer.get("cost") or {}
    return RoadReport(
        road=example.road,
        model=example.body["model"],
        reason=sent.headers.get("x-tollgate-route-reason", "unknown"),
        answer=answer_text(answer.get("output")),
        cost=money(cost.get("effective_cost_usd")),
        avoided=money(cost.get("avoided_cost_usd")),
        seconds=ended - sent.began,
    )


async def _call(
    session: ClientSession, example: Example, method: str, path: str, body: Any
) -> tuple[Mapping[str, str], dict[str, Any]]:
    try:
        async with session.request(method, path, json=body) as answer:
            text = await answer.text()
            if answer.status not in {200, 202}:
                raise _failed(example, f"was answered with {answer.status}: {text[:300]}")
            document: dict[str, Any] = json.loads(text)
            return answer.headers, document
    except (ClientError, TimeoutError, ValueError) as error:
        raise _failed(example, f"got no proper answer ({type(error).__name__}: {error})") from error


def _failed(example: Example, what: str) -> ExampleFailedError:
    return ExampleFailedError(f"The example for the {example.road} road (model {example.body['model']}) {what}.")
