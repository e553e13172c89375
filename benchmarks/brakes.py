"""From alarm to shutdown, and how few calls a failing backend gets.

    make run DETACH=1 && make bench-brakes          # --no-stack leaves out what needs a running stack

On a running local stack the gateway's budget is overspent through the API, request by request, until the brakes have
gone through every level. Printed are the seconds from the request that crossed a step to the first moment at which
`GET /v1/control` says that its level is in force, the seconds until new work is refused and every endpoint is down,
what was spent afterwards, and whether a resume put everything back as it was, byte for byte. The catalogue is put back
in the end. Real endpoints take minutes to go; the brakes are what is timed here, not SageMaker.

Without a stack: what the circuit breaker and the retry budget let through to a backend that fails, in simulated time,
for many execution environments, beside a gateway that simply tries each request up to three times.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any

from local.launch.layout import ROOT, Layout, aws_environment, project_environment
from local.launch.state import StackRecord
from tollgate.adapters.documents.standing import standing_document
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.money import usd_text
from tollgate.domain.places.standing import Place, PlaceKind
from tollgate.domain.roads.health import CLOSED, CallOutcome, Circuit, Fitness, HealthPolicy, RetryTokens

_PRICE = Decimal("0.01")
_LIMIT = Decimal("0.80")
_STEPS = (("warn", 25), ("downgrade", 35), ("defer", 45), ("stop", 60))
_CATALOGUE = f"""
region = "us-east-1"
[brakes]
steps = [{", ".join(f'{{ at_percent = {percent}, action = "{action}" }}' for action, percent in _STEPS)}]
[[budgets]]
scope = "gateway"
period = "day"
limit_usd = "{_LIMIT}"
[models.spend]
default_priority = "high"
fall_back_to_async = false
[models.spend.deployments.main]
tier = "small"
dialect = "inputs"
instance_type = "ml.priced-by-ceiling.xlarge"
timing = {{ base_seconds = 0.01 }}
realtime = {{ endpoint = "tollgate-echo-realtime", concurrency = 16, ceiling_usd = "{_PRICE}" }}
async = {{ endpoint = "tollgate-echo-async", ceiling_usd = "{_PRICE}" }}
batch = {{ transform_model = "tollgate-echo", ceiling_usd = "{_PRICE}" }}
"""
_PLACES = (
    Place(PlaceKind.REALTIME, "tollgate-echo-realtime"),
    Place(PlaceKind.ASYNC, "tollgate-echo-async"),
)
_WITHIN_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0


class Overspend:
    """A stack whose budget is overspent."""

    def __init__(self, layout: Layout, within_seconds: float) -> None:
        self._within_seconds = within_seconds
        record = StackRecord.read(layout.record_file)
        if record is None or not record.ready:
            raise SystemExit(f"No stack runs on port {layout.port}: make run DETACH=1 TOLLGATE_PORT={layout.port}")
        self._layout = layout
        self._environment = project_environment(layout)
        os.environ.update(aws_environment(layout))
        self._endpoints = SageMakerControl()
        self._key = self._cli("keys", "create", "--tenant", "spender", "--scopes", "infer,read,admin").strip()

    def run(self) -> list[str]:
        """Overspend once, print what happened; returns what was not as promised."""
        broken: list[str] = []
        before = self._standing()
        self._apply(_CATALOGUE)
        try:
            reached = self._spend_through_the_steps()
            for action, _ in _STEPS:
                seconds = reached.get(action)
                print(
                    f"  {action:>9}: in force {'never' if seconds is None else f'{seconds:.1f} s'} after the crossing"
                )
                if seconds is None or seconds > self._within_seconds:
                    broken.append(f"{action} within {self._within_seconds:.0f} s")
            refused, down = self._refused_and_down()
            print(f"  new work refused {refused:.1f} s, every endpoint down {down:.1f} s after the stop was in force")
            spent = self._spent()
            statuses = {self._infer(priority) for priority in ("high", "medium", "low") for _ in range(5)}
            after = self._spent() - spent
            print(f"  15 requests after the stop: statuses {sorted(statuses)}, spent ${usd_text(after)}")
            if statuses != {429} or after:
                broken.append("nothing spent after the stop")
            print("  " + self._cli("brake", "status").strip().replace("\n", "\n  "))
            began = time.monotonic()
            self._cli("brake", "resume")
            same = self._until(lambda: self._standing() == before)
            print(f"  resumed: endpoints as before, byte for byte: {same}, after {time.monotonic() - began:.1f} s")
            open_again = self._until(lambda: self._infer("high") == 200)
            print(f"  requests are served again: {open_again}")
            if not same or not open_again:
                broken.append("everything back as it was")
            return broken
        finally:
            if self._control()["level"] != "none":
                self._cli("brake", "resume")
            self._apply((ROOT / "models.toml").read_text(), "--overlay", str(ROOT / "local" / "models.local.toml"))

    def _spend_through_the_steps(self) -> Mapping[str, float]:
        """Spend a cent at a time; seconds from each crossing to its level in force."""
        crossed: dict[str, float] = {}
        reached: dict[str, float] = {}
        levels = ["none", *(action for action, _ in _STEPS)]
        for action, percent in _STEPS:
            while self._spent() * 100 < _LIMIT * percent:
                # A deadline keeps it on the real-time road, so that what it costs is spent at once at every level.
                if self._infer("high", deadline_seconds=20) != 200:
                    break
            crossed[action] = time.monotonic()
            waits = itertools.count(1)
            while time.monotonic() - crossed[action] < _PATIENCE_SECONDS:
                if levels.index(self._control()["level"]) >= levels.index(action):
                    reached[action] = time.monotonic() - crossed[action]
                    break
                time.sleep(0.1)
                if next(waits) % 10 == 0:
                    # Several environments may have spent it; each reads what the others did with its next request.
                    self._infer("high", deadline_seconds=20)
        return reached

    def _refused_and_down(self) -> tuple[float, float]:
        began = time.monotonic()
        self._until(lambda: self._infer("high") == 429)
        refused = time.monotonic() - began
        self._until(lambda: all(self._endpoints.describe(place).current == 0 for place in _PLACES))
        return refused, time.monotonic() - began

    def _standing(self) -> str:
        found = [standing_document(self._endpoints.describe(place)) for place in _PLACES]
        return json.dumps(found, sort_keys=True)

    def _spent(self) -> Decimal:
        _, document = self._call("GET", "/v1/budgets")
        budgets = [budget for budget in document["data"] if budget["scope"] == "gateway"]
        return Decimal(budgets[0]["spent_usd"]) if budgets else Decimal(0)

    def _control(self) -> Any:
        return self._call("GET", "/v1/control")[1]

    def _infer(self, priority: str, **more: Any) -> int:
        return self._call("POST", "/v1/inferences", {"model": "spend", "input": "x", "priority": priority} | more)[0]

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self._layout.port, timeout=120)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    @staticmethod
    def _until(condition: Callable[[], bool]) -> bool:
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE_SECONDS:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def _apply(self, text: str, *options: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            self._cli("models", "apply", file.name, *options)
        time.sleep(16)  # Functions keep a catalogue for 15 s.

    def _cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "cli", "--stack", "tollgate", *words]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603 -- our own program
        if done.returncode not in {0, 1} or (done.returncode and words[0] != "brake"):
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout


def amplification(environments: int, requests: int, seconds: float, *, breaker: bool) -> tuple[float, float]:
    """Calls for each request when everything fails: all in all, and in the last tenth of the time.

    Every environment sends its share of the requests evenly and knows only what it has seen itself; that the others
    are told, through the capacity record, makes it fewer still.
    """
    policy, outcome = HealthPolicy(fallback=("spare",)), CallOutcome.FAILED
    circuits: list[list[Circuit]] = [[CLOSED, CLOSED] for _ in range(environments)]
    tokens = [RetryTokens() for _ in range(environments)]
    calls = late = 0
    for number in range(requests):
        now = seconds * number / requests
        which = number % environments
        budget, own = tokens[which], circuits[which]
        budget.earn()
        for target in (0, 1):
            if breaker and own[target].fitness(now) is Fitness.BROKEN:
                continue
            calls += 1
            late += number >= requests * 9 // 10
            own[target] = own[target].after(outcome, now, policy)
            if not budget.take():
                break
    return calls / requests, late / (requests / 10)


def main() -> None:
    """Print everything; exit status 1 if something was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("TOLLGATE_PORT", "4566")))
    parser.add_argument("--no-stack", action="store_true")
    parser.add_argument("--within", type=float, default=_WITHIN_SECONDS, help="seconds from crossing to level")
    arguments = parser.parse_args()
    print("Calls for each request while everything fails (10,000 requests, two deployments):")
    print("  three tries each, no budget, no breaker: 3.00")
    bound = 1.0
    for environments in (1, 10, 100):
        plain, _ = amplification(environments, 10_000, 600, breaker=False)
        guarded, late = amplification(environments, 10_000, 600, breaker=True)
        bound = max(bound, plain)
        print(
            f"  {environments:>3} environments: retry budget {plain:.3f}; with the breaker {guarded:.3f}, "
            f"{late:.3f} in the last minute"
        )
    broken = [] if bound <= 1.1 + 100 / 10_000 else ["at most 1.1 calls for a request, and one for an environment"]
    if not arguments.no_stack:
        print("Overspending on the local stack:")
        broken += Overspend(Layout(ROOT, arguments.port), arguments.within).run()
    for promise in broken:
        print(f"BROKEN: {promise}")
    if broken:
        raise SystemExit(1)
    print("kept: every promise above")


if __name__ == "__main__":
    main()
