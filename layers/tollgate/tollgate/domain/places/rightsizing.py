"""Whether a deployment's instances fit their work, from a week of measurements.

Common rules: under 40 % on average is over-provisioned, regularly over 80 % is under-provisioned. "Regularly" is taken
as one hour in ten. Any instance advised must leave room: in busy hours (95th percentile) the work may use at most 70 %
of each of its resources.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.places.instance_shapes import SHAPES, InstanceShape

LOW_PERCENT = 40.0
HIGH_PERCENT = 80.0
REGULARLY = 0.1
ROOM_PERCENT = 70.0
SHARE_PERCENT = 10.0
LEAST_HOURS = 24
HOURS_A_MONTH = 730
"""AWS's own month. https://aws.amazon.com/calculator/calculator-assumptions/"""


class Verdict(StrEnum):
    """What to do about an instance type."""

    KEEP = "keep"
    SMALLER = "smaller"
    LARGER = "larger"
    OTHER_FAMILY = "other_family"
    SHARE = "share"


class Resource(StrEnum):
    """What an instance can run out of."""

    GPU = "gpu"
    GPU_MEMORY = "gpu_memory"
    CPU = "cpu"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class MeasuredUse:
    """A week of one endpoint.

    Attributes:
        resource: the deployment that it serves, the first of several.
        endpoint: its name.
        hourly: mean percent of the whole instance in each hour, by resource; hours without an instance are left out.
        peaks: highest percent in each hour.
        invocations: in each hour.
        latency_seconds: mean of the model's time in each hour with invocations.
        instances: mean number that stood.
    """

    resource: str
    endpoint: str
    instance_type: str
    hourly: Mapping[Resource, Sequence[float]]
    peaks: Mapping[Resource, Sequence[float]]
    invocations: Sequence[float]
    latency_seconds: Sequence[float]
    instances: float

    def mean(self, resource: Resource) -> float:
        """Mean percent, 0 where nothing was measured."""
        values = self.hourly.get(resource, ())
        return sum(values) / len(values) if values else 0.0

    def busy(self, resource: Resource) -> float:
        """The 95th percentile of the hourly percentages."""
        return _percentile(self.hourly.get(resource, ()), 0.95)

    def peak(self, resource: Resource) -> float:
        """Highest percent of the week."""
        return max(self.peaks.get(resource, ()), default=0.0)


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about one endpoint.

    Attributes:
        resource: the deployment that it serves, the first of several.
        endpoint: its name.
        rule: the rule that applied, in words with its figures.
        to: the instance type to move to; None to stay.
        monthly_saving: dollars; negative costs more; None where a price is unknown.
        breaks: what would go wrong, as far as the week shows.
    """

    resource: str
    endpoint: str
    instance_type: str
    verdict: Verdict
    rule: str
    to: str | None = None
    monthly_saving: Decimal | None = None
    breaks: str = ""


def advise(usages: Iterable[MeasuredUse], prices: Mapping[str, Decimal]) -> tuple[Advice, ...]:
    """Advice for each endpoint.

    Args:
        usages: of the week.
        prices: dollars of an instance hour by type; types without one are never advised.
    """
    found = list(usages)
    quiet = {u.resource for u in found if _measured(u) and _main(u)[1] < SHARE_PERCENT}
    return tuple(_advice(usage, prices, quiet) for usage in found)


def _advice(usage: MeasuredUse, prices: Mapping[str, Decimal], quiet: set[str]) -> Advice:
    shape = SHAPES.get(usage.instance_type)
    if shape is None:
        return _keep(usage, f"{usage.instance_type} is not among the types that are compared")
    if not _measured(usage):
        return _keep(usage, f"fewer than {LEAST_HOURS} measured hours")
    main, mean = _main(usage)
    values = usage.hourly[main]
    high = sum(value > HIGH_PERCENT for value in values) / len(values)
    if high >= REGULARLY:
        rule = f"{main} over {HIGH_PERCENT:.0f} % in {high:.0%} of hours"
        return _larger(usage, shape, prices, rule)
    if mean >= LOW_PERCENT:
        return _keep(usage, f"{main} {mean:.0f} % on average")
    rule = f"{main} {mean:.0f} % on average, under {LOW_PERCENT:.0f} %"
    if usage.resource in quiet and len(quiet) > 1:
        return _share(usage, prices, f"{main} {mean:.0f} % on average, under {SHARE_PERCENT:.0f} %", len(quiet))
    return _cheaper(usage, shape, prices, rule)


def _measured(usage: MeasuredUse) -> bool:
    """Whether the resource that is judged was measured for long enough; that others were says nothing about it."""
    main, _ = _main(usage)
    return len(usage.hourly.get(main, ())) >= LEAST_HOURS


def _main(usage: MeasuredUse) -> tuple[Resource, float]:
    """The most used resource, and its mean; a GPU where there is one, because that is what costs most."""
    if usage.hourly.get(Resource.GPU):
        return Resource.GPU, usage.mean(Resource.GPU)
    return Resource.CPU, usage.mean(Resource.CPU)


def _keep(usage: MeasuredUse, rule: str) -> Advice:
    return Advice(usage.resource, usage.endpoint, usage.instance_type, Verdict.KEEP, rule)


def _cheaper(usage: MeasuredUse, shape: InstanceShape, prices: Mapping[str, Decimal], rule: str) -> Advice:
    now = prices.get(shape.name)
    fitting = [s for s in _priced(prices) if now is not None and prices[s.name] < now and _fits(usage, shape, s)]
    if not fitting:
        return _keep(usage, f"{rule}, but nothing cheaper has room for its busy hours")
    best = min(fitting, key=lambda s: (prices[s.name], s.name))
    return _moved(usage, (shape, best), rule, prices)


def _larger(usage: MeasuredUse, shape: InstanceShape, prices: Mapping[str, Decimal], rule: str) -> Advice:
    fitting = [s for s in _priced(prices) if s.name != shape.name and _fits(usage, shape, s)]
    if not fitting:
        return Advice(
            usage.resource,
            usage.endpoint,
            shape.name,
            Verdict.LARGER,
            f"{rule}; no single type is large enough, add instances",
        )
    best = min(fitting, key=lambda s: (prices[s.name], s.name))
    return _moved(usage, (shape, best), rule, prices)


def _share(usage: MeasuredUse, prices: Mapping[str, Decimal], rule: str, others: int) -> Advice:
    now = prices.get(usage.instance_type)
    saving = None if now is None else _monthly(now * (others - 1) / others, usage.instances)
    return Advice(
        usage.resource,
        usage.endpoint,
        usage.instance_type,
        Verdict.SHARE,
        f"{rule}; {others} deployments are that quiet",
        monthly_saving=saving,
        breaks="a model that was unloaded answers its next request late; one container must serve all of them",
    )


def _moved(
    usage: MeasuredUse, shapes: tuple[InstanceShape, InstanceShape], rule: str, prices: Mapping[str, Decimal]
) -> Advice:
    old, new = shapes
    before, after = prices.get(old.name), prices[new.name]
    dearer = before is None or after > before
    same = Verdict.LARGER if dearer else Verdict.SMALLER
    return Advice(
        resource=usage.resource,
        endpoint=usage.endpoint,
        instance_type=old.name,
        verdict=same if new.family == old.family else Verdict.OTHER_FAMILY,
        rule=rule,
        to=new.name,
        monthly_saving=None if before is None else _monthly(before - after, usage.instances),
        breaks=_breaks(usage, old, new),
    )


def _monthly(hourly: Decimal, instances: float) -> Decimal:
    return (hourly * Decimal(repr(instances)) * HOURS_A_MONTH).quantize(Decimal("0.01"))


def _priced(prices: Mapping[str, Decimal]) -> list[InstanceShape]:
    return [shape for name, shape in SHAPES.items() if name in prices]


def _fits(usage: MeasuredUse, old: InstanceShape, new: InstanceShape) -> bool:
    needs_gpu = usage.busy(Resource.GPU) > 0
    if needs_gpu and not new.gpus:
        return False
    return all(usage.busy(r) * _ratio(r, old, new) <= ROOM_PERCENT for r in Resource)


def _ratio(resource: Resource, old: InstanceShape, new: InstanceShape) -> float:
    """How many times larger the percentage becomes on the new instance."""
    have, get = {
        Resource.GPU: (old.gpu_power, new.gpu_power),
        Resource.GPU_MEMORY: (old.gpu_memory_gb, new.gpu_memory_gb),
        Resource.CPU: (old.vcpus, new.vcpus),
        Resource.MEMORY: (old.memory_gb, new.memory_gb),
    }[resource]
    if not get:
        return 0.0 if resource in {Resource.GPU, Resource.GPU_MEMORY} else float("inf")
    return have / get


def _breaks(usage: MeasuredUse, old: InstanceShape, new: InstanceShape) -> str:
    tight = [
        f"{resource} peaks of {usage.peak(resource):.0f} % would be {after:.0f} %"
        for resource in Resource
        if usage.peaks.get(resource) and (after := usage.peak(resource) * _ratio(resource, old, new)) > HIGH_PERCENT
    ]
    if old.gpu != new.gpu and new.gpus:
        tight.append(f"{new.gpu} instead of {old.gpu or 'no GPU'}: measure the latency before moving")
    if old.gpus and not new.gpus:
        tight.append("the GPU goes, which the week did not use")
    return "; ".join(tight) or "nothing that the week shows"


def _percentile(values: Sequence[float], share: float) -> float:
    """The smallest value not exceeded by at least this share of the values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]
