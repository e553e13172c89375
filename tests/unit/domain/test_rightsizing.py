"""Advice about instance types, from made-up weeks whose right answer is known."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.places.advice_report import advice_document
from tollgate.domain.places.instance_shapes import SHAPES
from tollgate.domain.places.rightsizing import ROOM_PERCENT, Advice, MeasuredUse, Resource, Verdict, advise

PRICES = {
    "ml.g5.xlarge": Decimal("1.408"),
    "ml.g5.2xlarge": Decimal("1.515"),
    "ml.g5.12xlarge": Decimal("7.09"),
    "ml.g4dn.xlarge": Decimal("0.736"),
    "ml.m5.large": Decimal("0.115"),
    "ml.m5.xlarge": Decimal("0.23"),
    "ml.c5.xlarge": Decimal("0.204"),
}
WEEK = 168


def _usage(
    instance_type: str, percents: Mapping[Resource, float], *, resource: str = "m/d", peak: float = 1.2, **changes: Any
) -> MeasuredUse:
    values: dict[str, Any] = {
        "resource": resource,
        "endpoint": "m-endpoint",
        "instance_type": instance_type,
        "hourly": {r: [value] * WEEK for r, value in percents.items()},
        "peaks": {r: [min(100.0, value * peak)] * WEEK for r, value in percents.items()},
        "invocations": [100.0] * WEEK,
        "latency_seconds": [0.2] * WEEK,
        "instances": 2.0,
    }
    return MeasuredUse(**values | changes)


def _one(usage: MeasuredUse) -> Advice:
    [advice] = advise([usage], PRICES)
    return advice


def test_a_gpu_used_by_half_is_kept() -> None:
    """Between the two limits there is nothing to advise."""
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 55, Resource.CPU: 20}))
    assert (advice.verdict, advice.rule, advice.to) == (Verdict.KEEP, "gpu 55 % on average", None)


def test_processors_paid_for_and_not_used_go() -> None:
    """The same GPU with half the processors: the rule, the saving of two instances a month, and nothing that breaks."""
    advice = _one(_usage("ml.g5.2xlarge", {Resource.GPU: 36, Resource.CPU: 15, Resource.GPU_MEMORY: 68}))
    assert (advice.verdict, advice.to) == (Verdict.SMALLER, "ml.g5.xlarge")
    assert advice.rule == "gpu 36 % on average, under 40 %"
    assert advice.monthly_saving == Decimal("156.22")
    assert advice.breaks == "gpu_memory peaks of 82 % would be 82 %"


def test_a_weaker_gpu_is_enough() -> None:
    """A tenth of an A10G fits on a T4; that it is another GPU is said."""
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 20, Resource.GPU_MEMORY: 30, Resource.CPU: 20}))
    assert (advice.verdict, advice.to) == (Verdict.OTHER_FAMILY, "ml.g4dn.xlarge")
    assert "T4 instead of A10G" in advice.breaks


def test_a_model_that_fills_the_memory_stays() -> None:
    """Idle as it is, its weights fit nowhere cheaper."""
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 20, Resource.GPU_MEMORY: 68}))
    assert advice.verdict is Verdict.KEEP
    assert "nothing cheaper has room" in advice.rule


def test_a_gpu_that_nobody_uses_goes() -> None:
    """A model that runs on the processors alone moves to an instance without GPU."""
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 0, Resource.CPU: 30, Resource.MEMORY: 20}))
    assert (advice.verdict, advice.to) == (Verdict.OTHER_FAMILY, "ml.m5.large")
    assert "the GPU goes" in advice.breaks


def test_one_busy_hour_in_ten_wants_more() -> None:
    """Over 80 % in 17 of 168 hours is regular, in 16 it is not."""
    busy = [95.0] * 17 + [50.0] * (WEEK - 17)
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 50}, hourly={Resource.GPU: busy}))
    assert (advice.verdict, advice.to) == (Verdict.LARGER, "ml.g5.12xlarge")
    assert advice.rule == "gpu over 80 % in 10% of hours"
    assert advice.monthly_saving is not None
    assert advice.monthly_saving < 0
    calmer = [95.0] * 16 + [50.0] * (WEEK - 16)
    assert _one(_usage("ml.g5.xlarge", {Resource.GPU: 50}, hourly={Resource.GPU: calmer})).verdict is Verdict.KEEP


def test_a_tenth_of_the_hours_is_regular_and_forty_percent_is_no_waste() -> None:
    """The limits themselves: ten of a hundred hours are enough, and 40 % on average is not under 40 %."""
    busy = [80.1] * 10 + [50.0] * 90
    assert _one(_usage("ml.g5.xlarge", {}, hourly={Resource.GPU: busy})).verdict is Verdict.LARGER
    at_the_limit = [80.0] * 10 + [50.0] * 90
    assert _one(_usage("ml.g5.xlarge", {}, hourly={Resource.GPU: at_the_limit})).verdict is Verdict.KEEP
    assert _one(_usage("ml.m5.xlarge", {Resource.CPU: 40.0})).rule == "cpu 40 % on average"


def test_the_cheapest_that_is_large_enough() -> None:
    """Of those that would leave room for the busy hours."""
    prices = {**PRICES, "ml.m5.2xlarge": Decimal("0.461"), "ml.m5.4xlarge": Decimal("0.922")}
    [advice] = advise([_usage("ml.m5.large", {Resource.CPU: 90})], prices)
    assert (advice.verdict, advice.to) == (Verdict.OTHER_FAMILY, "ml.c5.xlarge")
    del prices["ml.c5.xlarge"]
    [advice] = advise([_usage("ml.m5.large", {Resource.CPU: 90})], prices)
    assert (advice.verdict, advice.to) == (Verdict.LARGER, "ml.m5.xlarge")


def test_busy_hours_are_the_twentieth_that_is_busiest() -> None:
    """Where they are fewer, the highest peak is only named: what would break."""
    prices = {name: PRICES[name] for name in ("ml.m5.large", "ml.m5.xlarge")}
    found: list[Advice] = []
    for hours in (8, 9):
        hourly = {Resource.CPU: [60.0] * hours + [10.0] * (WEEK - hours)}
        found += advise([_usage("ml.m5.xlarge", {}, hourly=hourly, peaks={Resource.CPU: [10.0, 60.0, 10.0]})], prices)
    assert [advice.to for advice in found] == ["ml.m5.large", None]
    assert found[0].breaks == "cpu peaks of 60 % would be 120 %"


def test_a_move_that_breaks_nothing_says_so() -> None:
    """Between processors no GPU goes, and an idle GPU that is replaced by another does not go either."""
    assert _one(_usage("ml.m5.xlarge", {Resource.CPU: 10})).breaks == "nothing that the week shows"
    idle = _usage("ml.g5.xlarge", {Resource.GPU: 0.0, Resource.CPU: 30, Resource.MEMORY: 20})
    [advice] = advise([idle], {"ml.g5.xlarge": Decimal(2), "ml.g4dn.xlarge": Decimal(1)})
    assert advice.breaks == "T4 instead of A10G: measure the latency before moving"


def test_a_gpu_that_is_used_a_little_does_not_go() -> None:
    """Half a percent in its busy hours is use."""
    advice = _one(_usage("ml.g5.xlarge", {Resource.GPU: 0.5, Resource.CPU: 30, Resource.MEMORY: 20}))
    assert advice.to == "ml.g4dn.xlarge"


def test_without_the_price_of_what_stands_no_saving_is_claimed() -> None:
    """Nothing is known to be cheaper; what is too small moves all the same, and what could share may."""
    calm, full = (_usage("ml.g6.xlarge", {Resource.GPU: value}, resource=f"m/{value}") for value in (20, 95))
    quiet = [_usage("ml.g6.xlarge", {Resource.GPU: 4}, resource=name) for name in ("m/a", "m/b")]
    advices = advise([calm, full, *quiet], PRICES)
    assert [advice.verdict for advice in advices] == [Verdict.KEEP, Verdict.OTHER_FAMILY, Verdict.SHARE, Verdict.SHARE]
    assert [advice.monthly_saving for advice in advices] == [None] * 4
    assert [advice_document(advice)["monthly_saving_usd"] for advice in advices] == [None] * 4


def test_what_no_type_can_carry_gets_more_instances() -> None:
    """The largest type at its limit: advice without a type."""
    advice = _one(_usage("ml.g5.12xlarge", {Resource.GPU: 95}))
    assert (advice.verdict, advice.to) == (Verdict.LARGER, None)
    assert "add instances" in advice.rule


def test_several_quiet_deployments_share() -> None:
    """Two under 10 % go onto one endpoint, each giving up half of its cost; one alone does not."""
    quiet = [_usage("ml.m5.large", {Resource.CPU: 4}, resource=name) for name in ("m/a", "m/b")]
    advice = advise(quiet, PRICES)
    assert [a.verdict for a in advice] == [Verdict.SHARE] * 2
    assert advice[0].monthly_saving == Decimal("83.95")
    assert "answers its next request late" in advice[0].breaks
    assert _one(quiet[0]).verdict is Verdict.KEEP
    three = advise([*quiet, _usage("ml.m5.large", {Resource.CPU: 4}, resource="m/c")], PRICES)
    assert three[0].monthly_saving == Decimal("111.93")
    used = [_usage("ml.m5.xlarge", {Resource.CPU: 20}, resource=name) for name in ("m/a", "m/b")]
    assert {a.verdict for a in advise(used, PRICES)} == {Verdict.SMALLER}


def test_a_day_is_the_least_to_judge_by() -> None:
    """23 hours say nothing, and an unknown type nothing either."""
    assert _one(_usage("ml.g5.xlarge", {}, hourly={Resource.GPU: [1.0] * 23})).rule == "fewer than 24 measured hours"
    assert "not among" in _one(_usage("ml.zz9.large", {Resource.CPU: 1})).rule


def test_it_is_judged_by_hours_of_the_resource_that_decides() -> None:
    """A GPU that came two hours ago says nothing yet, nor does the memory of an instance whose processors are unknown.

    Neither is counted among the quiet ones that could share.
    """
    weeks = [
        _usage("ml.g5.xlarge", {}, hourly={Resource.GPU: [1.0] * 2, Resource.CPU: [5.0] * WEEK}),
        _usage("ml.m5.large", {Resource.MEMORY: 20}, resource="m/memory"),
    ]
    assert [advice.rule for advice in advise(weeks, PRICES)] == ["fewer than 24 measured hours"] * 2
    quiet = _usage("ml.m5.large", {Resource.CPU: 4}, resource="m/quiet")
    assert advise([*weeks, quiet], PRICES)[-1].verdict is Verdict.KEEP


@given(
    instance_type=st.sampled_from(sorted(PRICES)),
    gpu=st.floats(0, 100),
    cpu=st.floats(0, 100),
    memory=st.floats(0, 100),
)
def test_no_advice_to_save_leaves_too_little_room(instance_type: str, gpu: float, cpu: float, memory: float) -> None:
    """Cheaper is only advised where every resource of the new type stays below the limit, and it is cheaper."""
    percents = {Resource.CPU: cpu, Resource.MEMORY: memory}
    if instance_type.startswith("ml.g"):
        percents |= {Resource.GPU: gpu, Resource.GPU_MEMORY: memory}
    usage = _usage(instance_type, percents)
    advice = _one(usage)
    if advice.to is None or advice.monthly_saving is None or advice.monthly_saving <= 0:
        return
    old, new = SHAPES[instance_type], SHAPES[advice.to]
    assert PRICES[new.name] < PRICES[old.name]
    assert cpu * old.vcpus / new.vcpus <= ROOM_PERCENT + 1e-9
    assert memory * old.memory_gb / new.memory_gb <= ROOM_PERCENT + 1e-9
