"""What runs for nobody, from a list of what runs and the names that are used."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tollgate.domain.places.orphans import Orphan, OrphanKind, Running, orphans

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PRICES = {"ml.m5.large": Decimal("0.1"), "ml.g5.xlarge": Decimal("1.5")}


def _running(
    name: str, *instances: tuple[str, int], kind: OrphanKind = OrphanKind.ENDPOINT, age: timedelta = timedelta(hours=1)
) -> Running:
    return Running(kind, name, instances, NOW - age)


def _found(*running: Running, used: tuple[str, ...] = ()) -> tuple[Orphan, ...]:
    return orphans(running, used, PRICES, now=NOW, job_hours=24)


def test_what_is_used_is_none() -> None:
    """Whatever it costs, and however old it is."""
    old = timedelta(days=30)
    job = _running("ours", ("ml.m5.large", 1), kind=OrphanKind.TRANSFORM_JOB, age=old)
    assert _found(_running("e", ("ml.m5.large", 1), age=old), job, used=("e", "ours")) == ()


def test_a_job_may_run_for_a_while() -> None:
    """It is left behind once it is older than the limit; an endpoint from its first minute."""
    job = OrphanKind.TRANSFORM_JOB
    at_the_limit = _running("young", ("ml.m5.large", 1), kind=job, age=timedelta(hours=24))
    older = _running("old", ("ml.m5.large", 1), kind=job, age=timedelta(hours=24, seconds=1))
    new = _running("endpoint", ("ml.m5.large", 1), age=timedelta())
    assert [orphan.running for orphan in _found(at_the_limit, older, new)] == [new, older]


def test_the_dearest_first_and_before_it_what_has_no_price() -> None:
    """A day of all its instances; unknown if the price of one is, or if it is not known what it runs on."""
    found = _found(
        _running("b-small", ("ml.m5.large", 2)),
        _running("a-small", ("ml.m5.large", 2)),
        _running("large", ("ml.m5.large", 1), ("ml.g5.xlarge", 3)),
        _running("strange", ("ml.g5.xlarge", 1), ("ml.new.large", 1)),
        _running("dark"),
    )
    assert [(orphan.running.name, orphan.daily_cost) for orphan in found] == [
        ("dark", None),
        ("strange", None),
        ("large", Decimal("110.4")),
        ("a-small", Decimal("4.8")),
        ("b-small", Decimal("4.8")),
    ]
