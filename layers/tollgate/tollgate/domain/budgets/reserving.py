"""How much is reserved for a request before it may cost anything.

What a request can cost at most is known, because its call is cut: a real-time call when the gateway's own time is over,
an asynchronous one by its invocation timeout. Reserving that much for every request would fill a small budget with
holds that nobody needs, so it is done only where it is a thousandth of the budget and a tenth of the budget is still
free afterwards (`FULL_SHARE`, `FULL_CEILING`). Otherwise a generous estimate from the deployment's own history is
reserved, and the call is cut when it has used that up. Either way a call that can be cut costs no more than was held
for it, so no number of racing calls can spend more than the limit.

The share of a transform job that a batch record will bear is known only when the job has ended, and nothing cuts it.
"""

from decimal import Decimal
from typing import NamedTuple

from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road
from tollgate.domain.costs.gateway_parts import GatewayRates, drop_usage
from tollgate.domain.costs.pricing import GatewayPrices, gateway_cost, instance_cost
from tollgate.domain.money import seconds, usd
from tollgate.domain.roads.estimates import RoadEstimate

FULL_SHARE = Decimal("0.001")
"""Of every limit, that the most a request can cost may be for it to be reserved whole."""

FULL_CEILING = Decimal("0.9")
"""Of every limit, up to which requests are reserved whole."""

_TIMES = 4
"""Four times the mean: of durations that are spread like a waiting time, 98 of 100 are shorter."""

_AT_LEAST_SECONDS = {InferenceType.REALTIME: 1.0, InferenceType.ASYNC: 30.0}
"""Below it a pause of the machine, and not the model, would decide whether a call is cut."""

_OVERSHOOT_SECONDS = 0.5
"""Between the moment a call is cut and the one at which the gateway has noticed."""

_RECORDS_PER_FILE = 50

_GATEWAY_SECONDS = 2.0
"""Of the function's own time around the call."""


class Ask(NamedTuple):
    """An amount to reserve.

    Attributes:
        amount: dollars.
        seconds: instance time that the amount pays for, at the end of which the call is cut; None if nothing cuts it.
        full: whether the request cannot cost more.
        billed: whether a provider bills the call, and may do so even if the function dies before settling it. Such a
            hold is never given back by itself.
    """

    amount: Decimal
    seconds: float | None = None
    full: bool = False
    billed: bool = False


def asks_for(
    estimate: RoadEstimate,
    road: Road,
    model: Model,
    rates: GatewayRates,
    *,
    limit_seconds: float,
    memory_gb: Decimal,
    body_bytes: int,
    choices: int = 1,
) -> tuple[Ask, ...]:
    """What to reserve: the most that the request can cost first, the estimate last.

    Args:
        estimate: of the road.
        road: that the request takes.
        model: for the timeout of its asynchronous road.
        rates: of the gateway's own work.
        limit_seconds: that a real-time call may take.
        memory_gb: of the gateway function.
        body_bytes: of the request.
        choices: answers that the container makes for it. Only a batch has to know, as nothing cuts it.
    """
    kind = road.inference_type
    if kind is InferenceType.BATCH:
        return (_batch_ask(estimate, road, rates, body_bytes, choices),)

    def ask(time: float, *, full: bool) -> Ask:
        if kind is InferenceType.REALTIME:
            parts = rates.realtime(memory_gb * seconds(time + _GATEWAY_SECONDS))
        else:
            parts = rates.expected(kind, body_bytes, time)
        if road.usd_per_hour is None:
            return Ask(usd((road.ceiling_usd or Decimal(0)) + parts), None, full)
        share = instance_cost(seconds(time + _OVERSHOOT_SECONDS), road.usd_per_hour, road.concurrency)
        return Ask(usd(share + parts), time, full)

    most = limit_seconds if kind is InferenceType.REALTIME else float(model.asynchronous.invocation_timeout_seconds)
    if road.usd_per_hour is None:
        return (ask(most, full=False),)
    generous = max(_TIMES * estimate.held_seconds, estimate.held_seconds + _AT_LEAST_SECONDS[kind])
    return ask(most, full=True), ask(min(most, generous), full=False)


def _batch_ask(estimate: RoadEstimate, road: Road, rates: GatewayRates, body_bytes: int, choices: int) -> Ask:
    parts = rates.expected(InferenceType.BATCH, body_bytes, estimate.held_seconds)
    if road.usd_per_hour is None:
        return Ask(usd((road.ceiling_usd or Decimal(0)) + parts))
    expected = estimate.loaded_cost if estimate.loaded_cost is not None else parts
    return Ask(usd(expected * _TIMES * choices + parts))


def file_ask(deployment: Deployment, road: Road, records: int, largest_record: int, prices: GatewayPrices) -> Ask:
    """What to reserve for a dropped file: four times what its transform job is expected to cost.

    Args:
        deployment: for the time that a record takes.
        road: the batch road.
        records: in the file.
        largest_record: bytes; four of them are about a token.
        prices: of the gateway's own parts.
    """
    files = max(1, -(-records // _RECORDS_PER_FILE))
    own = gateway_cost(drop_usage(files), prices)
    if road.usd_per_hour is None:
        return Ask(usd((road.ceiling_usd or Decimal(0)) * records + own))
    places = road.instance_count * road.concurrency
    each = deployment.timing.expected_seconds(largest_record // 4)
    time = seconds(road.startup_seconds + records * each / places)
    return Ask(usd(instance_cost(time * road.instance_count, road.usd_per_hour, 1) * _TIMES + own))


def reservation_parts(reservation: Reservation | None, rates: GatewayRates, *, job: bool) -> Decimal:
    """Dollars of the table writes for a reservation and its settlement.

    Several items, or one together with a job's record, make a transaction, which costs twice as much.
    """
    if reservation is None:
        return Decimal(0)
    items = len(reservation.holds) + (reservation.call is not None)
    if not items:
        return Decimal(0)
    units = 2 * items + 1 if job else (items if items == 1 else 2 * items)
    return 2 * units * rates.table_write_unit
