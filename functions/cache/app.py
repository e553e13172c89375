"""POST /v1/cache/lookup, DELETE /v1/cache, clients' own results; and orders to make an answer anew."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from tollgate.adapters.aws_retry import RetryPolicy
from tollgate.adapters.dynamodb_answers import DynamoDBAnswers
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_near import DynamoDBNear
from tollgate.adapters.dynamodb_retrieval import DynamoDBRetrieval
from tollgate.adapters.word_vectors import likeness
from tollgate.api.cache_orders import carry_out
from tollgate.api.cache_routes import CacheApi
from tollgate.api.http import read_call
from tollgate.ports.system import Telemetry
from tollgate.services.answer_cache import AnswerCache
from tollgate.services.manage_cache import CacheManager
from tollgate.services.near_answers import NearAnswers
from tollgate.services.near_upkeep import NearUpkeep
from tollgate.services.refresh_answers import AnswerRefresher
from tollgate.settings import InferenceSettings
from tollgate.wiring.inference import API_SECONDS, InferenceParts

_PATIENCE_SECONDS = 10.0
"""For a function that is only starting; nobody waits for what is filed."""


class CacheSettings(InferenceSettings):
    """Settings of this function."""

    sentences_function: str = ""


class CacheParts(InferenceParts):
    """Nobody waits for what this function does to kept answers, so it has more patience with their table."""

    _settings: CacheSettings

    @cached_property
    def answer_store(self) -> DynamoDBAnswers:
        """Tries again what the table was too busy for."""
        tables = DynamoDBClient(self.transport, retry=RetryPolicy.UNPROCESSED)
        return DynamoDBAnswers(tables, self._settings.table_cache, self.objects)

    @cached_property
    def answers(self) -> AnswerCache:
        """A lookup never waits, and a refresh has its lease."""
        return AnswerCache(
            store=self.answer_store,
            admission=self.admission,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
            pause=lambda _seconds: None,
            time_limit_seconds=API_SECONDS,
            near=lambda: self.near,
        )

    @cached_property
    def index(self) -> DynamoDBNear:
        """Where prompts are filed."""
        return DynamoDBNear(self.tables, self._settings.table_cache)

    @cached_property
    def upkeep(self) -> NearUpkeep:
        """Files new answers and counts how near matches compare."""
        return NearUpkeep(
            index=self.index,
            answers=self.answer_store,
            catalogues=self.catalogues,
            telemetry=self.telemetry,
            clock=self.clock,
            sentences=self.sentences(self._settings.sentences_function, _PATIENCE_SECONDS),
        )

    @cached_property
    def near(self) -> NearAnswers:
        """As the gateway's, but files at once, and samples nothing: no caller asked."""
        return NearAnswers(
            index=self.index,
            answers=self.answer_store,
            words=likeness,
            sentences=self.sentences(self._settings.sentences_function, _PATIENCE_SECONDS),
            file=lambda _run, order: self.upkeep.file(order),
            check=None,
            clock=self.clock,
            telemetry=self.telemetry,
        )


@dataclass(frozen=True, slots=True)
class Services:
    """What calls need, and what orders need."""

    api: CacheApi
    refresher: AnswerRefresher
    upkeep: NearUpkeep
    telemetry: Telemetry


def build(settings: CacheSettings) -> Services:
    """Wire the services; nothing is connected before the first event."""
    parts = CacheParts(settings)
    manager = CacheManager(
        answers=parts.answer_store,
        values=DynamoDBRetrieval(parts.tables, settings.table_cache),
        catalogues=parts.catalogues,
        clock=parts.clock,
        near=parts.index,
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
