"""Embeds lists of texts one by one: only texts without a kept vector are sent to the model.

Each text has the entry of a list of just that text, so short and long lists share their vectors. Nobody waits for
anybody here: two lists that bring the same new text at the same moment both have it embedded.
"""

from __future__ import annotations

from copy import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.cache.control import NO_WISHES
from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome, epoch_ms, usable
from tollgate.domain.cache.identity import request_identity, request_key, scope_name
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import InferenceType, ModelKind
from tollgate.domain.costs.settlement import settle_cache_hit, with_cached_part
from tollgate.domain.errors import ModelFailedError, StorageError
from tollgate.domain.generated import vectors_in
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO
from tollgate.services.requests.plan import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from decimal import Decimal

    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.system import Clock, IdSource
    from tollgate.services.cache.reader import CacheReader
    from tollgate.services.requests.plan import InferenceRequest, Plan
    from tollgate.services.requests.trail import Trail

MOST_TEXTS = 500
"""Longer lists are embedded as a whole."""

MOST_WRITE_UNITS = 2_000
"""Table writes for the vectors of one request: $0.00125, which no budget counts. 500 vectors of 384 numbers just fit.
Vectors beyond that are not kept; the next list has those texts embedded again, and may keep them then."""

_KEYS_A_READ = 100
_BYTES_A_NUMBER = 10
_BYTES_BESIDE = 150
"""Packed, a number with a float's digits takes 9.5 to 10.2 bytes, from 384 numbers on; and what is stored with them."""


def texts_to_look_up(plan: Plan) -> Sequence[str] | None:
    """The texts of a request that is embedded text by text, None for any other."""
    request = plan.request
    policy, control = plan.model.cache, request.cache or NO_WISHES
    kind = request.needs.kind if request.needs is not None else plan.model.kind
    if policy is None or not policy.per_text or kind is not ModelKind.EMBEDDING:
        return None
    if not control.read or not control.store or plan.chosen is not None or request.wishes is not None:
        return None
    if plan.decision.deferred or plan.decision.inference_type is not InferenceType.REALTIME:
        return None
    texts, least = request.input, 1
    if isinstance(texts, dict) and texts.keys() == {"inputs"}:
        texts, least = texts["inputs"], 2  # The entry of a list of one text is that of the whole request.
    elif plan.decision.deployment.dialect != "inputs":
        return None  # Other dialects take a bare list as the messages of a chat.
    if not isinstance(texts, list) or not least <= len(texts) <= MOST_TEXTS:
        return None
    return texts if all(isinstance(text, str) for text in texts) else None


class _Kept(NamedTuple):
    """What is kept of a list.

    Attributes:
        keys: of each text's entry, by text.
        known: answers that suit the request, by text.
        began_ms: when it was looked up.
        scope: name of who may read the entries.
    """

    keys: Mapping[str, str]
    known: Mapping[str, CachedAnswer]
    began_ms: int
    scope: str


class EmbeddingCache:
    """Puts the vectors of a list together from what is kept and what the model makes."""

    def __init__(self, *, store: AnswerStore, reader: CacheReader, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids

    def answer(
        self,
        texts: Sequence[str],
        plan: Plan,
        trail: Trail,
        run: Callable[[InferenceRequest], Completed],
    ) -> Completed | None:
        """The vectors of all texts, in their order; the trail says `hit` only if nothing was run.

        None if the table does not answer, or if the request may not run and a vector is missing: what happens then is
        decided as for any other request.

        Args:
            texts: of `texts_to_look_up`.
            plan: for the whole list.
            trail: of the request.
            run: embeds fewer texts, now.

        Raises:
            TollgateError: what `run` raises; nothing is kept then.
        """
        request = plan.request
        policy, control = plan.model.cache, request.cache or NO_WISHES
        assert policy is not None  # noqa: S101 -- `texts_to_look_up` has looked; for the type checker
        try:
            kept = self._look(texts, plan, trail)
        except StorageError:
            return None
        keys, known, began, scope = kept
        missing = [text for text in keys if text not in known]
        if missing and control.only_if_cached:
            return None
        worth = _worth(known.values())
        trail.cache = (CacheOutcome.MISS if missing else CacheOutcome.HIT).value
        vectors: dict[str, Any] = {text: answer.output[0] for text, answer in known.items()}
        if not missing:
            trail.usage, trail.estimated_cost = _usage(known.values()), ZERO
            trail.settlement = settle_cache_hit(worth)
            trail.cache_age = max(answer.age_seconds(began) for answer in known.values())
            return Completed(self._ids.new("inf"), self._clock.now(), [vectors[text] for text in texts])
        result = run(replace(request, input={"inputs": missing}))
        made = vectors_in(result.output)
        if len(made) != len(missing):
            raise ModelFailedError(
                f"The model container gave {len(made)} embeddings for {len(missing)} texts.", original_status=502
            )
        fresh = dict(zip(missing, made, strict=True))
        ticket = CacheTicket("", 0, control.ttl_seconds or policy.ttl_seconds, 0, began, scope, control.namespace)
        self._keep({keys[text]: vector for text, vector in fresh.items()}, ticket, trail)
        if trail.settlement is not None:
            trail.settlement = with_cached_part(trail.settlement, worth)
        vectors |= fresh
        return result._replace(output=[vectors[text] for text in texts])

    def lookup(self, texts: Sequence[str], plan: Plan, trail: Trail) -> CachedAnswer | None:
        """The vectors of all texts as one answer, as old as the oldest; None if one is missing. Nothing is run.

        Raises:
            StorageError: the table does not answer.
        """
        keys, known, _, _ = self._look(texts, plan, trail)
        if len(known) < len(keys):
            return None
        answers = known.values()
        return CachedAnswer(
            output=[known[text].output[0] for text in texts],
            usage=_usage(answers),
            resource=plan.decision.deployment.resource,
            worth=_worth(answers),
            began_ms=min(answer.began_ms for answer in answers),
            made_ms=min(answer.made_ms for answer in answers),
            fresh_ms=min(answer.fresh_ms for answer in answers),
            kept_ms=min(answer.kept_ms for answer in answers),
        )

    def _look(self, texts: Sequence[str], plan: Plan, trail: Trail) -> _Kept:
        """Read the entries of the texts.

        Raises:
            StorageError: the table does not answer.
        """
        request = plan.request
        policy, control = plan.model.cache, request.cache or NO_WISHES
        assert policy is not None  # noqa: S101 -- `texts_to_look_up` has looked; for the type checker
        identity = request_identity(trail.owner.tenant, control, policy, plan.decision.deployment)
        scope = scope_name(identity.scope)
        keys = {text: request_key(identity, {"inputs": [text]}, request.parameters) for text in texts}
        began = epoch_ms(self._clock.now())
        text_of = {key: text for text, key in keys.items()}
        wanted = list(text_of)
        known: dict[str, CachedAnswer] = {}
        forgotten = self._reader.forgotten_of(scope, wanted[0])
        for start in range(0, len(wanted), _KEYS_A_READ):
            part = wanted[start : start + _KEYS_A_READ]
            answers = self._reader.asked(partial(self._store.read_many, part))
            known |= {
                text_of[key]: answer
                for key, answer in answers.items()
                if not forgotten.covers(answer, request.model, control.namespace)
                and usable(answer, control, policy, began) is CacheOutcome.HIT
                and _is_one_vector(answer.output)
            }
        return _Kept(keys, known, began, scope)

    def _keep(self, vectors: Mapping[str, Any], ticket: CacheTicket, trail: Trail) -> None:
        now = epoch_ms(self._clock.now())
        settled, tokens = trail.settlement, trail.usage.input_tokens
        loaded = None
        if settled is not None and settled.effective is not None and settled.avoided is not None:
            loaded = (settled.effective + settled.avoided) / len(vectors)
        usage = Usage(None if tokens is None else max(1, round(tokens / len(vectors))), None)
        until = now + ticket.ttl_seconds * 1000
        left = MOST_WRITE_UNITS
        for key, vector in vectors.items():
            left -= _write_units(vector)
            if left < 0:
                return
            answer = CachedAnswer([vector], usage, trail.resource, loaded, ticket.began_ms, now, until, until)
            try:
                self._store.store(replace(ticket, key=key), answer)
            except (StorageError, ValueError):
                return  # This caller has the vectors; the next has them made again.


def _write_units(vector: Sequence[float]) -> int:
    """Write units of a vector: one for each KB.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
    """
    return 1 + (_BYTES_BESIDE + _BYTES_A_NUMBER * len(vector)) // 1_024


def _is_one_vector(output: Any) -> bool:
    return isinstance(output, list) and len(output) == 1 and isinstance(output[0], list)


def _usage(answers: Collection[CachedAnswer]) -> Usage:
    counts = [answer.usage.input_tokens for answer in answers]
    known = [count for count in counts if count is not None]
    return Usage(sum(known) if len(known) == len(counts) else None, None)


def _worth(answers: Collection[CachedAnswer]) -> Decimal | None:
    worths = [answer.worth for answer in answers]
    known = [worth for worth in worths if worth is not None]
    return sum(known, ZERO) if len(known) == len(worths) else None
