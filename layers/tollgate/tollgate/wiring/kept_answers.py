"""What the cache function is made of, besides what runs requests."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers
from tollgate.adapters.dynamodb.cache.near import DynamoDBNear
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.texts.word_vectors import likeness
from tollgate.services.cache.answer_cache import AnswerCache
from tollgate.services.cache.near_answers import NearAnswers
from tollgate.services.cache.near_upkeep import NearUpkeep
from tollgate.wiring.inference import API_SECONDS, InferenceParts

if TYPE_CHECKING:
    from tollgate.settings import KeptAnswerSettings

_PATIENCE_SECONDS = 10.0
"""For a function that is only starting; nobody waits for what is filed."""


class KeptAnswerParts(InferenceParts):
    """Nobody waits for what this function does, so it has more patience with the table of answers."""

    _settings: KeptAnswerSettings

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
