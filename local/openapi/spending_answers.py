"""Shapes of the answers about spending: budgets, brakes, usage, advice and workflow runs."""

from typing import Any, Literal

from local.openapi.answers import Answer


class BudgetThreshold(Answer):
    """A threshold of a budget: whether it is crossed now, and whether that was announced in this period."""

    at_percent: str
    action: Literal["warn", "downgrade", "defer", "block"]
    crossed: bool
    announced: bool


class Budget(Answer):
    """A budget in its present period. Amounts are dollars as decimal text."""

    object: Literal["budget"]
    scope: str
    period: Literal["request", "hour", "day", "month", "total"]
    counter: str | None
    period_ends_at: str | None
    limit_usd: str | None
    raised_until: str | None
    spent_usd: str
    held_usd: str
    remaining_usd: str | None
    released_usd: str
    overrun_usd: str
    used_percent: str | None
    thresholds: list[BudgetThreshold]
    calls: int
    max_calls: int | None
    max_depth: int | None
    shadow: bool
    shadow_refusals: int


class BudgetList(Answer):
    """The budgets that the key may see."""

    object: Literal["list"]
    data: list[Budget]


class ControlCause(Answer):
    """What holds a brake on; `dismissed` when somebody has resumed in spite of it."""

    cause: str
    level: Literal["none", "warn", "downgrade", "defer", "stop"]
    reason: str
    observed_at: str
    until: str | None
    dismissed: bool


class ControlStep(Answer):
    """One thing that was done for a level, with how it was before."""

    number: int
    level: Literal["warn", "downgrade", "defer", "stop"]
    target: str
    what: str
    state: Literal["planned", "going_down", "done", "going_up", "undone"]
    planned_at: str
    done_at: str | None
    undone_at: str | None
    saves_usd_per_hour: str | None
    before: dict[str, Any] | None
    changes: list[str]
    undone: list[str]
    problem: str | None


class PlaceChange(Answer):
    """A phase that a place entered, or a failure on the way, with the reason."""

    at: str
    phase: Literal["awake", "falling_asleep", "asleep", "waking"]
    reason: str


class ControlPlace(Answer):
    """An endpoint or inference component that may sleep; `history` has the latest changes, oldest first."""

    place: str
    phase: Literal["awake", "falling_asleep", "asleep", "waking"]
    since: str
    held_by: str | None
    problem: str | None
    retry_at: str | None
    history: list[PlaceChange]


class Control(Answer):
    """The spend brakes, and what sleeps. Everything after `until` is for admins only."""

    object: Literal["control"]
    level: Literal["none", "warn", "downgrade", "defer", "stop"]
    reason: str | None
    since: str | None
    until: str | None
    announced: Literal["none", "warn", "downgrade", "defer", "stop"] | None = None
    revision: int | None = None
    episode: str | None = None
    saves_usd_per_hour: str | None = None
    causes: list[ControlCause] | None = None
    steps: list[ControlStep] | None = None
    places: list[ControlPlace] | None = None


class Latency(Answer):
    """Milliseconds, right to within 2 %; null without requests."""

    p50: float | None
    p95: float | None
    p99: float | None


class UsageLine(Answer):
    """The requests of one group. Amounts are dollars as decimal text; null where something is not known.

    `loaded_cost_usd` is the effective cost with the idle time of the endpoints, of the hours up to `loaded_until`; the
    costs per thousand requests and per million tokens are shares of it. `cached_input_tokens` are those of the
    input that a provider found in its prompt cache.
    """

    group: dict[str, str]
    requests: int
    errors: int
    rejected: int
    cache_hits: int
    cache: dict[Literal["hit", "near", "stale", "miss", "bypass"], int]
    latency_ms: Latency
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    requests_of_unknown_tokens: int
    requests_of_unknown_cost: int
    effective_cost_usd: str
    charged_cost_usd: str
    loaded_cost_usd: str | None
    avoided_cost_usd: str
    avoided_usd: dict[Literal["trim", "tier", "road", "batch", "cache"], str]
    cost_per_thousand_requests_usd: str | None
    cost_per_million_tokens_usd: str | None


class UsageReport(Answer):
    """What requests cost and how they went, by group and in all."""

    object: Literal["usage"]
    loaded_until: str | None
    group_by: list[str]
    data: list[UsageLine]
    total: UsageLine


class Recommendation(Answer):
    """Advice about one endpoint, with the first deployment that it serves. The saving is dollars a month."""

    deployment: str
    endpoint: str
    instance_type: str
    verdict: Literal["keep", "smaller", "larger", "other_family", "share"]
    rule: str
    to: str | None
    monthly_saving_usd: str | None
    breaks: str


class RecommendationList(Answer):
    """Advice of the latest right-sizing."""

    object: Literal["list"]
    created_at: str
    data: list[Recommendation]


class WorkflowCall(Answer):
    """A call of a run, with the calls that were made for it."""

    id: str
    parent: str | None
    depth: int
    model: str
    inference_type: Literal["realtime", "async", "batch"]
    status: str
    created_at: str
    effective_cost_usd: str | None
    calls: list["WorkflowCall"]


class Workflow(Answer):
    """The cost tree of a workflow run; the sum leaves out what is not known yet, and what `has_more` is about."""

    object: Literal["workflow"]
    id: str
    effective_cost_usd: str
    call_count: int
    depth: int
    has_more: bool
    calls: list[WorkflowCall]
