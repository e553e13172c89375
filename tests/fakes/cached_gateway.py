"""A gateway whose model has a cache, and ways to ask it."""

from collections.abc import Mapping
from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tollgate.api.http import Answer
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Catalogue

BODY: dict[str, Any] = {"model": "echo", "input": "hello there", "priority": "high"}
CHAT = b'{"generated_text": "Good day."}'


def cached(**changes: Any) -> Catalogue:
    """The example catalogue, its model with a cache."""
    catalogue = make_catalogue()
    model = replace(catalogue.models["echo"], cache=CachePolicy(**changes))
    return replace(catalogue, models={"echo": model})


def gateway(**changes: Any) -> FakeGateway:
    return FakeGateway(catalogue=cached(**changes))


def ask(api: FakeGateway, changes: Mapping[str, Any] | None = None, /, **options: Any) -> Answer:
    answer = api.infer(BODY | dict(changes or {}), **options)
    assert answer.status in {200, 202, 400, 503, 504}, answer.body
    return answer


def state(answer: Answer) -> str:
    return answer.headers["x-tollgate-cache"]


def with_budget(catalogue: Catalogue, limit: Decimal) -> Catalogue:
    budget = Budget(kind=ScopeKind.GATEWAY, subject="", period=BudgetPeriod.DAY, limit_usd=limit)
    return replace(catalogue, budgets=(budget,))


def now_ms(api: FakeGateway) -> int:
    return int(api.clock.now().timestamp() * 1000)
