"""What near matching needs done in the background: prompts filed, and wrong matches counted.

Orders come as events, like refreshes, perhaps twice, perhaps late. Filing twice changes nothing. A comparison bears the
name of the lease that its request was run under, so it is counted once.
"""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING, Any

from tollgate.domain.errors import InvalidRequestError, UnknownModelError
from tollgate.domain.near.agreement import answers_agree
from tollgate.domain.near.guard import guard_of
from tollgate.domain.near.index import NearEntry
from tollgate.domain.near.policy import Likeness
from tollgate.domain.near.reading import read
from tollgate.domain.near.record import filed_prompt
from tollgate.domain.near.signature import NearSignature, bucket_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.domain.catalogue import Model
    from tollgate.domain.near.guard import NearGuard
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.near import NearStore, SentenceVectors
    from tollgate.ports.registry import CatalogueSource
    from tollgate.ports.system import Clock, Telemetry

_TRIES = 5
"""To write the guard while others are writing it too."""


class NearUpkeep:
    """Carries out what the gateway leaves for later.

    `sentences` makes the vectors that orders do not bring, such as those of jobs' prompts.
    """

    def __init__(
        self,
        *,
        index: NearStore,
        answers: AnswerStore,
        catalogues: CatalogueSource,
        telemetry: Telemetry,
        clock: Clock,
        sentences: SentenceVectors,
    ) -> None:
        self._index = index
        self._answers = answers
        self._catalogues = catalogues
        self._telemetry = telemetry
        self._clock = clock
        self._sentences = sentences

    def file(self, order: Mapping[str, Any]) -> None:
        """File the prompt of a new answer under its buckets, and compare the answer with the one that the order names.

        Raises:
            InvalidRequestError: it is no valid order; after the retries it becomes a dead letter with this reason.
            StorageError: try again.
        """
        try:
            filed = filed_prompt(order)
        except (AttributeError, TypeError, ValueError) as error:
            self._telemetry.log("ERROR", "order not understood", problem=str(error))
            raise InvalidRequestError(f"No order to file an answer: {error}.") from error
        model = self._model(order["model"])
        now_s = int(self._clock.now().timestamp())
        if model is None or filed.expires_s <= now_s:
            return
        if not filed.vector and _by_sentences(model):
            filed = replace(filed, vector=self._sentences(filed.prompt) or b"")
            if not filed.vector:
                # Without a vector it can match nothing. Its exact entry can still be found.
                self._telemetry.count("CacheNearDown")
                return
        reading = read(filed.prompt)
        entry = NearEntry(filed.entry_id, NearSignature.of(reading), filed.expires_s)
        self._index.file(filed, entry, bucket_keys(filed.context_key, reading), now_s)
        if order.get("beside") is not None:
            self._compared(model, f"{filed.key[:32]}.{filed.made_ms}", filed.key, filed.made_ms, order["beside"])

    def compare(self, order: Mapping[str, Any]) -> None:
        """Compare the answer of a sampled request with the near match that was served; see `RefreshOrders.order`.

        Raises:
            StorageError: try again.
        """
        model, ticket = self._model(order["model"]), order["ticket"]
        if model is not None:
            name = f"{ticket['key'][:32]}.{ticket['fence']}"
            self._compared(model, name, ticket["key"], ticket["began_ms"], order["against"])

    def _compared(self, model: Model, name: str, key: str, since_ms: int, served: Mapping[str, Any]) -> None:
        """Count whether the answer under a key, made at `since_ms` or later, agrees with the one that was served."""
        found = self._answers.read_many([key, served["key"]])
        fresh, old = found.get(key), found.get(served["key"])
        if fresh is None or old is None or fresh.made_ms < since_ms or old.made_ms != served["made_ms"]:
            return  # One of them has been replaced by now, so comparing them would say nothing.
        agrees = fresh.refusal is None and answers_agree(fresh.output, old.output, model.kind)
        moved = self._observed(model, name, agrees=agrees)
        if moved is None:
            return
        self._telemetry.count("CacheNearChecked")
        if not agrees:
            self._telemetry.count("CacheNearWrong")
        bound = moved[1].bound
        measured = {
            "CacheNearThreshold": bound.threshold if bound.serves else 1.0,
            "CacheNearWrongBound": bound.wrong_rate_bound,
        }
        self._telemetry.measure(measured, {"Model": model.name})
        if moved[0].bound.step != bound.step:
            self._telemetry.log(
                "WARNING" if bound.step > moved[0].bound.step else "INFO",
                "near threshold moved",
                model=model.name,
                threshold=bound.threshold,
                serves=bound.serves,
                agreed=moved[1].agreed,
                disagreed=moved[1].disagreed,
            )

    def _observed(self, model: Model, name: str, *, agrees: bool) -> tuple[NearGuard, NearGuard] | None:
        """The guard before and after; None if this was counted already, or too many others were writing."""
        policy = None if model.cache is None else model.cache.near
        if policy is None:
            return None
        for _ in range(_TRIES):
            before = guard_of(policy, self._index.guard(model.name))
            after = before.observe(name, agrees=agrees)
            if after is None:
                return None
            if self._index.put_guard(model.name, after):
                return before, after
        return None

    def _model(self, name: str) -> Model | None:
        """The model, if it still has near matches."""
        try:
            model = self._catalogues.current().model(name)
        except UnknownModelError:
            return None
        return model if model.cache is not None and model.cache.near is not None else None


def _by_sentences(model: Model) -> bool:
    policy = None if model.cache is None else model.cache.near
    return policy is not None and policy.likeness is Likeness.SENTENCES
