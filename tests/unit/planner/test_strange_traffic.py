"""Plans of traffic unlike the public traces are right, and say what cannot be had."""

import random
from collections.abc import Callable, Iterator
from copy import replace
from decimal import Decimal
from pathlib import Path

import pytest

from cli.main import main
from cli.plan import show
from cli.tables import new_console
from planner.comparison import Comparison, compare
from planner.designs import REALTIME, REFUSED, Router, round_up, standard_designs
from planner.gap import above_the_bound
from planner.trace import Trace
from planner.workload import ClassMix, draw_deadlines
from planner.world import World, price_book
from tollgate.domain.money import ZERO

_DAY = 86_400.0
_PRICED = "meta.llama3-1-8b-instruct-v1:0"
_ALONE = World.of("ml.g5.2xlarge")
_BESIDE = replace(_ALONE, tokens=price_book().tokens[_PRICED].rates, token_model=_PRICED)
_UNGATED = ("always-on real-time", "autoscaled real-time")

_Rows = Iterator[tuple[float, int, int]]


def _rush(source: random.Random) -> _Rows:
    return ((7_200 + source.random(), 500, 100) for _ in range(1_000))


def _moment(_: random.Random) -> _Rows:
    return ((0.0, 500, 100) for _ in range(200))


def _daily(source: random.Random) -> _Rows:
    return ((day * _DAY + source.random() * 3_600, 500, 100) for day in range(30))


def _tails(source: random.Random) -> _Rows:
    sizes = (0, 1, 30, 400, 2_000, 200_000)
    return ((source.random() * _DAY, source.choice(sizes), min(3_000, source.choice(sizes))) for _ in range(500))


def _empty(source: random.Random) -> _Rows:
    return ((source.random() * _DAY, 0, 0) for _ in range(300))


_KINDS = (_rush, _moment, _daily, _tails, _empty)


def _made(kind: Callable[[random.Random], _Rows], mix: ClassMix, shift: float = 0.0) -> Trace:
    trace = Trace(group_names=["all"])
    for arrival, read, written in sorted(kind(random.Random(3))):  # noqa: S311 - wants to be repeatable
        trace.append(arrival + shift, read, written)
    draw_deadlines(trace, mix, 1)
    return trace


@pytest.mark.parametrize("world", [_ALONE, _BESIDE], ids=["instances", "tokens beside"])
@pytest.mark.parametrize("mix", [ClassMix(), ClassMix(0.1, 0.3, 0.6), ClassMix(1.0, 0.0, 0.0)])
@pytest.mark.parametrize("kind", _KINDS)
def test_books_balance_and_no_design_beats_the_bound(
    kind: Callable[[random.Random], _Rows], mix: ClassMix, world: World
) -> None:
    """Every request ends once; who is in time where that is possible pays the bound or more, and the reasons add up."""
    trace = _made(kind, mix)
    comparison = compare(trace, world)
    always = comparison.baseline
    for outcome in comparison.outcomes:
        assert sum(outcome.counts.values()) == len(trace)
        assert outcome.missed >= comparison.impossible
        if outcome.missed <= comparison.impossible and outcome.design not in _UNGATED:
            assert outcome.total >= comparison.bounds_of(outcome).least - Decimal("1e-6"), outcome.design
    chosen = comparison.recommended
    if chosen is not None:
        assert chosen.total <= always.total or always.missed > chosen.missed
        reasons = sum((reason.usd for reason in above_the_bound(comparison, chosen)), ZERO)
        assert reasons == pytest.approx(chosen.total - comparison.bounds_of(chosen).least, abs=Decimal("1e-6"))


@pytest.mark.parametrize("kind", [_rush, _daily, _tails])
def test_the_same_traffic_later_costs_the_same(kind: Callable[[random.Random], _Rows]) -> None:
    """Half a minute or a day later, what is recommended costs as much, within two in a hundred."""
    horizon = 32 * _DAY
    first = compare(_made(kind, ClassMix()), _BESIDE, horizon=horizon)
    assert first.recommended is not None
    for shift in (37.0, _DAY):
        later = compare(_made(kind, ClassMix(), shift), _BESIDE, horizon=horizon).recommended
        assert later is not None
        assert float(later.total) == pytest.approx(float(first.recommended.total), rel=0.02)


def test_one_request_is_billed_an_hour_of_an_instance_that_never_sleeps() -> None:
    """A trace of a moment is no trace of nothing: the baseline is not free."""
    comparison = compare(_made(_moment, ClassMix()), _ALONE)
    assert comparison.baseline.total == _ALONE.usd_per_hour
    assert comparison.best is not comparison.baseline


def _with_impossible() -> Trace:
    trace = Trace(group_names=["all"])
    for number in range(3_000):
        trace.append(number * 20.0, 500, 100, deadline=900.0)
    trace.append(60_000.0, 500, 8_000, deadline=60.0)
    return trace


def test_what_nobody_can_do_in_time_is_held_against_nobody() -> None:
    """One answer of 160 seconds that is wanted after 60 does not make an instance that never sleeps the best."""
    comparison = compare(_with_impossible(), _ALONE)
    assert comparison.impossible == 1
    assert comparison.recommended is not None
    assert comparison.recommended.missed == 1
    assert comparison.recommended.total < comparison.baseline.total / 2


def test_what_one_late_request_in_a_thousand_would_save_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Half a minute is too long for a gateway's real-time road: for that one answer's sake an instance stays up."""
    trace = _with_impossible()
    trace.output_tokens[-1] = 1_500
    comparison = compare(trace, _ALONE)
    assert comparison.impossible == 0
    assert comparison.recommended is comparison.baseline
    nearly = comparison.nearly
    assert nearly is not None
    assert nearly.missed == 1
    assert nearly.total < comparison.baseline.total / 2
    show(trace, comparison, new_console())
    said = " ".join(capsys.readouterr().out.split())
    assert f"If one request in a thousand may be late, {nearly.design} does for" in said


def test_where_nothing_is_possible_nothing_is_recommended() -> None:
    """A design that refuses everybody is free, and no answer to the question."""
    trace = Trace(group_names=["all"])
    for number in range(10):
        trace.append(number * 600.0, 10, 8_000, deadline=60.0)
    comparison = compare(trace, _ALONE)
    assert comparison.impossible == 10
    assert comparison.recommended is None
    assert not comparison.best.counts.get("refused")


def test_a_request_just_quick_enough_is_not_refused_for_its_group_s_largest() -> None:
    """Sizes are rounded up for the router; 22.0 seconds of work are in time for 22.6, the group's 23.2 are not."""
    design = next(one for one in standard_designs(_ALONE, 4.0, {22.6}) if one.name == "wake for deadlines")
    router = Router(design, _ALONE)
    assert router.code(100, round_up(1_090), -1.0, 22.6) == REFUSED
    assert router.code(100, 1_090, -1.0, 22.6) == REALTIME


def test_an_answer_too_long_for_a_provider_s_minute_needs_an_instance_in_the_bound_too() -> None:
    """8,000 tokens take a provider 80 s, longer than anybody waits for one."""
    trace = Trace(group_names=["all"])
    trace.append(0.0, 100, 8_000, deadline=900.0)
    found: Comparison = compare(trace, _BESIDE)
    assert found.token_bounds is not None
    assert found.token_bounds.least >= found.bounds.least


def test_the_plan_says_what_is_impossible_cheaper_and_taken_for_granted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the table: requests that no road can serve in time, and columns that were empty."""
    rows = [f"{number * 20},500,100,900" for number in range(300)] + ["5000,500,8000,60", "5100,500,,900"]
    path = tmp_path / "trace.csv"
    path.write_text("t_s,input_tokens,output_tokens,deadline_s\n" + "\n".join(rows))
    assert main(["plan", str(path), "--quick"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Requests that take longer than their deadline wherever they are served: 1." in said
    assert "Noted: requests without output tokens, taken as 0: 1." in said


def test_a_rush_that_one_instance_cannot_do_says_what_the_cheaper_one_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where what is recommended costs more than the baseline, the plan says that the baseline is late."""
    rows = "".join(f"{3_600 + number / 1_000},500,100,{60 if number % 10 else 900}\n" for number in range(500))
    path = tmp_path / "trace.csv"
    path.write_text("t_s,input_tokens,output_tokens,deadline_s\n1,5,5,60\n" + rows)
    assert main(["plan", str(path), "--quick"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Every design missed deadlines" in said or "One instance that never sleeps costs less" in said
