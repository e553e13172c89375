"""POST /v1/cache/lookup, DELETE /v1/cache, clients' own results; and orders to make an answer anew."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.cache.retrieval import DynamoDBRetrieval
from tollgate.api.cache_orders import carry_out
from tollgate.api.cache_routes import CacheApi
from tollgate.api.http import read_call
from tollgate.ports.system import Telemetry
from tollgate.services.cache.manage import CacheManager
from tollgate.services.cache.near_upkeep import NearUpkeep
from tollgate.services.cache.refresh_answers import AnswerRefresher
from tollgate.settings import KeptAnswerSettings
from tollgate.wiring.kept_answers import KeptAnswerParts


class CacheSettings(KeptAnswerSettings):
    """Settings of this function."""


@dataclass(frozen=True, slots=True)
class Services:
    """What calls need, and what orders need."""

    api: CacheApi
    refresher: AnswerRefresher
    upkeep: NearUpkeep
    telemetry: Telemetry


def build(settings: CacheSettings) -> Services:
    """Wire the services; nothing is connected before the first event."""
    parts = KeptAnswerParts(settings)
    manager = CacheManager(
        answers=parts.answer_store,
        values=DynamoDBRetrieval(parts.tables, settings.table_cache),
        catalogues=parts.catalogues,
        admission=parts.admission,
        clock=parts.clock,
        ids=parts.ids,
        near=parts.index,
        telemetry=parts.telemetry,
    )
    return Services(
        api=CacheApi(inference=parts.inference, manager=manager, telemetry=parts.telemetry, clock=parts.clock),
        refresher=AnswerRefresher(
            inference=parts.inference,
            store=parts.answer_store,
            objects=parts.objects,
            telemetry=parts.telemetry,
            clock=parts.clock,
            compare=parts.upkeep.compare,
        ),
        upkeep=parts.upkeep,
        telemetry=parts.telemetry,
    )


def handle(event: dict[str, Any], service: Services) -> dict[str, Any] | None:
    """One API call, or one order of the gateway's."""
    if "httpMethod" in event:
        return service.api.respond(read_call(event)).to_event()
    carry_out(event, {"refresh": service.refresher.carry_out, "near": service.upkeep.file}, service.telemetry)
    return None


@cache
def _service() -> Services:
    return build(CacheSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Entry point."""
    return handle(event, _service())
