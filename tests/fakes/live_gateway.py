"""A gateway whose answers are seen piece by piece, and how to ask it."""

from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tests.fakes.streams import DONE, chunk, usage_chunk
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import ModelFailedError

CHAT, TEXT = "POST /v1/chat/completions", "POST /v1/completions"
ASK: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hello"}],
    "stream": True,
    "service_tier": "priority",
    "temperature": 0,
}
PIECES = [chunk(role="assistant"), chunk("three"), chunk(" two"), chunk(" one"), chunk(None, "stop")]
WHOLE = [*PIECES, usage_chunk(4, 3), DONE]
BROKE = ModelFailedError("The model container broke off its answer: out of memory", original_status=502)
DAY = "gateway#day#2026-03-01"


def live_catalogue(**changes: Any) -> Catalogue:
    """The example, its container speaking OpenAI's chunks."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (deployment,) = model.deployments
    model = replace(model, deployments=(replace(deployment, dialect="messages"),), **changes)
    return replace(catalogue, models={"echo": model})


def day_budget(limit: str) -> Budget:
    """Of the whole gateway."""
    return Budget(kind=ScopeKind.GATEWAY, subject="", period=BudgetPeriod.DAY, limit_usd=Decimal(limit))


def live_gateway(*budgets: Budget, **changes: Any) -> FakeGateway:
    """Whose container answers in three words, piece by piece."""
    gateway = FakeGateway(catalogue=replace(live_catalogue(**changes), budgets=budgets))
    gateway.stream.pieces = WHOLE
    return gateway


def last_record(gateway: FakeGateway) -> dict[str, Any]:
    """The log line of the latest request."""
    return [line for line in gateway.lines if line.get("message") == "request"][-1]
