"""A job or an endpoint for what waits, and when it is worth waiting at all."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.job_or_endpoint import job_is_cheaper
from tollgate.domain.wake_by_deadline import worth_holding

cents = st.decimals(0, 10, places=2)


def cheaper(saved_per_second: str, requests: int) -> bool:
    return job_is_cheaper(
        endpoint_start=Decimal("0.12"),
        job_start=Decimal("0.10"),
        requests=requests,
        less_in_job=Decimal("0.0001"),
        saved_per_second=Decimal(saved_per_second),
        endpoint_seconds=300.0,
    )


def test_a_job_serves_those_who_are_alone_and_an_endpoint_those_who_get_company() -> None:
    """What comes during the endpoint's start is worth more than the job saves, or it is not."""
    assert cheaper("0.0000", 0)
    assert not cheaper("0.0001", 0)
    assert cheaper("0.0001", 200)


@given(cents, cents, st.floats(0, 1), cents, cents)
def test_more_hope_never_makes_it_less_worth_waiting(
    saved: Decimal, start: Decimal, anyway: float, own: Decimal, holding: Decimal
) -> None:
    """A request that is held with this much company is held with more, and with nothing to lose."""
    held = worth_holding(saved, start, anyway, own=own, holding=holding)
    if held:
        assert worth_holding(saved + 1, start, anyway, own=own, holding=holding)
        assert worth_holding(saved, start, anyway, own=own, holding=Decimal(0)) or own == 0
    if worth_holding(saved, start, anyway):
        assert held


def test_waiting_that_costs_much_wants_half_a_start_that_costs_little_wants_less() -> None:
    """The own saving times the share of a start that is there is held against the cost of waiting in vain."""
    start = Decimal("0.12")
    dear, cheap = Decimal("0.0005"), Decimal("0.00001")
    assert worth_holding(Decimal("0.06"), start, own=Decimal("0.0002"), holding=dear)
    assert not worth_holding(Decimal("0.05"), start, own=Decimal("0.0002"), holding=dear)
    assert worth_holding(Decimal("0.01"), start, own=Decimal("0.0002"), holding=cheap)
    assert not worth_holding(Decimal("0.005"), start, own=Decimal("0.0002"), holding=cheap)
