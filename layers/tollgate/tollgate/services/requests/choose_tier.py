"""Chooses which size and variant answers a request, for models that have several."""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from tollgate.domain.catalogue import TIER_ORDER, InferenceType, Tier
from tollgate.domain.choice.answer_checks import cascade_pays, chance_of_passing
from tollgate.domain.choice.complexity import routing_text
from tollgate.domain.choice.model_choice import ENOUGH_RECORDS
from tollgate.domain.choice.outcomes import ESCALATED, NOTHING, Tally, topic_of, total
from tollgate.domain.choice.policy import DEFAULT_CHOICE, CascadePolicy
from tollgate.domain.choice.tier_choice import Option, TierDecision, decide_tier, is_ruled_out
from tollgate.domain.errors import TollgateError
from tollgate.domain.money import ZERO
from tollgate.domain.prompt import spoken
from tollgate.domain.roads.estimates import RoadEstimates
from tollgate.domain.roads.routing import RoutingDecision, RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.ports.outcomes import Extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from tollgate.domain.catalogue import Deployment, Model
    from tollgate.domain.choice.policy import ChoicePolicy
    from tollgate.domain.costs.pricing import GatewayPrices
    from tollgate.domain.jobs.job import Owner
    from tollgate.domain.roads.capacity import Capacity
    from tollgate.ports.outcomes import OutcomeStore
    from tollgate.services.requests.plan import InferenceRequest

_REMEMBERED: Final = 2_000
_NO_DIAL: Final = 1.0


class _Offer(NamedTuple):
    """What can be chosen from, for one request.

    Attributes:
        model: with the deployments that may serve it.
        routing: size, priority, deadline; its selector is replaced by the conversation's.
    """

    model: Model
    routing: RoutingRequest
    capacity: Capacity
    prices: GatewayPrices


class Chosen(NamedTuple):
    """What was chosen, and what is needed to carry it out.

    Attributes:
        decision: deployment and road.
        reason: for the size; empty if there is only one.
        topic: of the prompt, see `tollgate.domain.choice.outcomes`.
        options: every size, smallest first.
        complexity: of the prompt; None where it did not matter.
        policy: the model owner's.
        cascade: when to ask a larger size after all; None for never.
        larger: the deployments of the size to ask then.
        routing: what the decision was made from; its selector is the same for a whole conversation.
        conversation: its name.
        settled: the size that the conversation goes on with.
        extra: dollars that this request costs more because another size is tried out.
    """

    decision: RoutingDecision
    reason: str
    topic: str
    options: tuple[Option, ...]
    complexity: float | None
    policy: ChoicePolicy
    cascade: CascadePolicy | None
    larger: tuple[Deployment, ...]
    routing: RoutingRequest
    conversation: str = ""
    settled: Tier | None = None
    extra: Decimal = ZERO

    @property
    def asks_below(self) -> bool:
        """Whether a smaller size is only asked first, and a larger one is meant to answer where that cannot."""
        if self.settled is None or not self.larger:
            return False
        return TIER_ORDER[self.decision.deployment.tier] < TIER_ORDER[self.settled]


class _Size(NamedTuple):
    tier: Tier
    deployments: tuple[Deployment, ...]
    decision: RoutingDecision


class TierChooser:
    """Weighs a model's sizes for each request, and keeps a conversation with the size that it began with."""

    def __init__(self, outcomes: OutcomeStore) -> None:
        self._outcomes = outcomes
        self._conversations: dict[str, Tier] = {}
        self._narrowed: dict[str, tuple[Model, tuple[Model, ...]]] = {}

    def choose(
        self,
        request: InferenceRequest,
        owner: Owner,
        model: Model,
        routing: RoutingRequest,
        *,
        capacity: Capacity,
        prices: GatewayPrices,
    ) -> Chosen:
        """Choose the size, its deployment and the road.

        Args:
            request: as it was made, before anything was trimmed; what is sent is measured in `routing`.
            owner: of the conversation that the request may belong to.
            model: with the deployments that may serve it.
            routing: size, priority and deadline.
            capacity: of the deployments.
            prices: of the gateway's own work.

        Raises:
            CapacityError, DeadlineImpossibleError, PriceUnknownError, InvalidRequestError: no size can serve it. The
                error is the smallest one's.
        """
        offer = _Offer(model, routing, capacity, prices)
        wishes = request.wishes
        policy = model.choice or DEFAULT_CHOICE
        said = spoken(request.input)
        text = routing_text(said)
        topic = topic_of(text)
        conversation = _conversation(owner, wishes.conversation_id if wishes else "", said)
        routing = routing._replace(selector=selector_of(conversation))
        sizes = _sizes(self._by_size(model), offer, routing)
        records = self._outcomes.of(model.name)
        everyone = total(records.values())
        own = [_own(size, records, topic) for size in sizes]
        compared = _comparable(own)
        options = tuple(
            _option(size, offer, (*each, everyone), record)
            for size, each, record in zip(sizes, own, compared, strict=True)
        )
        if len(sizes) == 1:
            return Chosen(sizes[0].decision, "", topic, options, None, policy, None, larger=(), routing=routing)
        goes_on = bool(wishes and wishes.conversation_id) or sum(role == "user" for role, _ in said) > 1
        known = self._conversations.get(conversation) if goes_on else None
        dial = policy.quality if wishes is None or wishes.quality is None else wishes.quality
        decided = decide_tier(
            text,
            options,
            policy,
            quality=wishes.quality if wishes else None,
            earlier=() if known is not None or not policy.sticky else _earlier(said),
            floor=known or Tier.SMALL,
            # Who wants all of the quality is not there to find out what less of it would do.
            draw=None if dial == _NO_DIAL else _draw(policy, conversation),
            extra_usd=self._left(model, policy),
        )
        first = at = next(i for i, size in enumerate(sizes) if size.tier is decided.tier)
        then: int | None = None
        cascade = _cascade(request, policy)
        if cascade is not None and _answers_now(sizes[at]):
            saves = at > 0 and dial != _NO_DIAL and _saves_below(at, sizes, options, own, decided)
            first, then = (at - 1, at) if saves else (at, _next_larger(at, options))
        return Chosen(
            sizes[first].decision,
            decided.reason if first == at else f"{decided.reason};cascade=from_{sizes[first].tier}",
            topic,
            options,
            decided.complexity,
            policy,
            None if then is None else cascade,
            larger=() if then is None else sizes[then].deployments,
            routing=routing,
            conversation=conversation,
            settled=decided.settled,
            extra=_extra(options, decided),
        )

    def begin(self, model: str, chosen: Chosen) -> None:
        """Note that a choice is carried out; one that is only previewed is not remembered and spends nothing."""
        if chosen.settled is not None:
            if len(self._conversations) >= _REMEMBERED:
                self._conversations.clear()
            self._conversations[chosen.conversation] = chosen.settled
        if chosen.extra:
            self._outcomes.spend(model, Extra.EXPLORE, chosen.extra)

    def _by_size(self, model: Model) -> tuple[Model, ...]:
        """The model once for each size, with the deployments of that size only, smallest first."""
        known = self._narrowed.get(model.name)
        # From one request to the next it is the same object, until another catalogue is read.
        if known is None or known[0] is not model:
            known = self._narrowed[model.name] = (model, _narrowed(model))
        return known[1]

    def _left(self, model: Model, policy: ChoicePolicy) -> Decimal | None:
        if policy.explore is None:
            return None
        return policy.explore.usd_per_day - self._outcomes.spent(model.name, Extra.EXPLORE)


def _extra(options: Sequence[Option], decided: TierDecision) -> Decimal:
    """Dollars that trying another size costs more."""
    costs = {option.tier: option.estimated_cost for option in options}
    tried, settled = costs[decided.tier], costs[decided.settled]
    return ZERO if tried is None or settled is None else max(ZERO, tried - settled)


def _conversation(owner: Owner, conversation_id: str, said: Sequence[tuple[str, str]]) -> str:
    """A name that stays the same through a conversation: from its id, or from what it began with.

    That is the user's first words; anybody's where no user spoke, or all such requests would be one conversation.
    """
    if conversation_id:
        return f"{owner.tenant}|id|{conversation_id}"
    first = next((text for role, text in said if role == "user"), "") or next((text for _, text in said if text), "")
    return f"{owner.tenant}|{first}"


def _earlier(said: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The user's first turn and the one before the last, to be weighed again; more would take too long.

    Only needed where this environment does not remember the conversation.
    """
    turns = [text for role, text in said if role == "user" and text]
    return tuple(dict.fromkeys(turns[:1] + turns[-2:-1])) if len(turns) > 1 else ()


def _narrowed(model: Model) -> tuple[Model, ...]:
    serving = [d for d in model.deployments if d.weight > 0] or model.deployments
    tiers = sorted({d.tier for d in serving}, key=TIER_ORDER.__getitem__)
    return tuple(replace(model, deployments=tuple(d for d in serving if d.tier is tier)) for tier in tiers)


def _sizes(by_size: Sequence[Model], offer: _Offer, routing: RoutingRequest) -> list[_Size]:
    """The sizes that can serve the request, smallest first."""
    found: list[_Size] = []
    wrong: TollgateError | None = None
    for model in by_size:
        deployments = model.deployments
        try:
            decision = route(routing, model, offer.capacity, offer.prices)
            found.append(_Size(deployments[0].tier, deployments, decision))
        except TollgateError as error:
            wrong = wrong or error
    if not found and wrong is not None:
        raise wrong
    return found


class _Own(NamedTuple):
    """How a size did where it was asked first: on the topic of the request, and on all topics."""

    here: Tally
    overall: Tally

    def nearest(self) -> Tally:
        """The outcomes on the topic if there are enough of them, otherwise all."""
        return self.here if self.here.judged >= ENOUGH_RECORDS else self.overall


def _own(size: _Size, records: Mapping[tuple[str, str], Tally], topic: str) -> _Own:
    names = {d.name for d in size.deployments}
    own = [(subject, tally) for (name, subject), tally in records.items() if name in names and subject != ESCALATED]
    return _Own(total(tally for subject, tally in own if subject == topic), total(tally for _, tally in own))


def _comparable(own: Sequence[_Own]) -> list[Tally]:
    """The record of each size: every one's on the topic, or every one's overall.

    Sizes are given different prompts, so one's outcomes on this topic cannot be compared with another's on all topics.
    """
    known = [each for each in own if each.overall.judged >= ENOUGH_RECORDS]
    if all(each.here.judged >= ENOUGH_RECORDS for each in known):
        return [each.nearest() for each in own]
    return [each.overall for each in own]


def _option(size: _Size, offer: _Offer, lengths: Sequence[Tally], record: Tally) -> Option:
    # Until a size has answered, its answers are taken to be as long as those of the others.
    deployment = size.decision.deployment
    return Option(
        tier=size.tier,
        estimated_cost=_cost(size.decision, offer, next((t for t in lengths if t.counted), NOTHING)),
        expected_quality=deployment.expected_quality,
        resembles=deployment.resembles,
        record=record,
    )


def _cost(decision: RoutingDecision, offer: _Offer, record: Tally) -> Decimal | None:
    """Dollars of the request on a size, if its answer is as long as those on this topic were."""
    usual = record.mean_output_tokens
    if usual is None:
        return decision.estimated_cost
    size = offer.routing.size
    length = round(usual) if size.output_tokens is None else min(size.output_tokens, round(usual))
    if length == size.output_tokens:
        return decision.estimated_cost
    estimates = RoadEstimates(
        size._replace(output_tokens=length), offer.model, decision.deployment, offer.capacity, offer.prices
    )
    return estimates[decision.inference_type].estimated_cost


def _draw(policy: ChoicePolicy, conversation: str) -> float | None:
    """Where in [0, 1) this conversation lies among those that try out a size; None if it tries none."""
    if policy.explore is None or policy.explore.share <= 0:
        return None
    place = selector_of(f"explore|{conversation}")
    return place / policy.explore.share if place < policy.explore.share else None


def _cascade(request: InferenceRequest, policy: ChoicePolicy) -> CascadePolicy | None:
    wishes = request.wishes
    if wishes is None or wishes.cascade is None:
        return policy.cascade
    if isinstance(wishes.cascade, bool):
        return (policy.cascade or CascadePolicy()) if wishes.cascade else None
    return wishes.cascade


def _answers_now(size: _Size) -> bool:
    """Whether the size would run the request now, rather than accept it as a job."""
    return size.decision.inference_type is InferenceType.REALTIME and not size.decision.deferred


def _next_larger(at: int, options: Sequence[Option]) -> int | None:
    """The next larger size that is not ruled out by its records, if there is any."""
    return next((i for i in range(at + 1, len(options)) if not is_ruled_out(options[i], options)), None)


def _saves_below(
    at: int, sizes: Sequence[_Size], options: Sequence[Option], own: Sequence[_Own], decided: TierDecision
) -> bool:
    """Whether to ask the size below the chosen one first, as its answer is likely enough to pass the check.

    Args:
        at: of the chosen size, at least 1.
        sizes: smallest first; so are `options` and `own`.
        options: what each would cost.
        own: how each did before.
        decided: why the size was chosen; one that is only tried out is asked itself.
    """
    if decided.tier is not decided.settled or not _answers_now(sizes[at - 1]):
        return False
    small, large = options[at - 1], options[at]
    chance = chance_of_passing(own[at - 1].nearest(), decided.complexity)
    return cascade_pays(small.estimated_cost, large.estimated_cost, chance)
