"""Finds answers to the same question in other words, after an exact miss and only for models that opt in.

A search makes at most two reads of the index (`near.index`), of at most seven items each, and two of answers. For
models that compare whole sentences, another function makes the prompt's vector in between, if there is anything to
compare it with; without the vector there is no match.

What is found is served only if the verifier agrees, the entry is there, fresh and not forgotten, and the model's guard
allows it. A small sample of what was served is run again, as refreshes are; see `near_upkeep`.
"""

from __future__ import annotations

from copy import replace
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tollgate.domain.cache.entry import CacheOutcome, epoch_ms, usable
from tollgate.domain.cache.identity import request_body
from tollgate.domain.cache.key import near_context
from tollgate.domain.errors import StorageError
from tollgate.domain.near.guard import guard_of
from tollgate.domain.near.index import shortlist
from tollgate.domain.near.match import verify_match
from tollgate.domain.near.policy import Likeness
from tollgate.domain.near.reading import read
from tollgate.domain.near.record import NearCandidate, NearSearch, entry_id, filing_order
from tollgate.domain.near.signature import NearSignature, bucket_keys
from tollgate.domain.near.vector import vector_cosine
from tollgate.domain.selection import selector_of
from tollgate.services.cache.breaker import CacheBreaker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tollgate.domain.cache.entry import CachedAnswer, CacheSlot
    from tollgate.domain.cache.key import NearContext
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.domain.near.policy import NearPolicy
    from tollgate.domain.near.reading import Reading
    from tollgate.domain.near.record import FiledPrompt
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.near import NearStore, SentenceVectors, WordLikeness
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.cache.cached_run import CachedRun
    from tollgate.services.cache.reader import CacheReader

ANSWERS_READ = 2
"""Accepted candidates whose answers are read, likeliest first. The first one is nearly always there."""

LONGEST_PROMPT = 2_000
"""Characters. Longer prompts are not analysed: few have words few enough, and the time grows with the length."""


class NearAnswers:
    """Looks for near matches, and has new answers filed.

    Args:
        index: where prompts are filed.
        answers: for the leases under which a sample is run again.
        words: gives what compares two texts by their words; None if the word vectors are missing or damaged. Models
            that compare by words have no near matches then.
        sentences: makes vectors of whole texts, for models that compare by those.
        file: takes the order to file an answer, see `near_upkeep`.
        check: has a request run again elsewhere, to compare with what was served; None where nothing can.
    """

    def __init__(
        self,
        *,
        index: NearStore,
        answers: AnswerStore,
        words: Callable[[], WordLikeness | None],
        sentences: SentenceVectors,
        file: Callable[[CachedRun, Mapping[str, Any]], None],
        check: Callable[[CachedRun, CacheTicket, Mapping[str, Any]], None] | None,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._index = index
        self._answers = answers
        self._words = words
        self._sentences = sentences
        self._file = file
        self._check = check
        self._clock = clock
        self._telemetry = telemetry
        self._breaker = CacheBreaker(clock)

    @cached_property
    def _by_words(self) -> WordLikeness | None:
        found = self._words()
        if found is None:
            self._telemetry.log("WARNING", "near matching by words is off: the word vectors are missing or damaged")
        return found

    def search(self, run: CachedRun, reader: CacheReader) -> tuple[NearSearch, CachedAnswer | None] | None:
        """What a search finds, with the matching entry's answer; None where there can be no near match.

        If the table does not answer, that is no match: the request goes on as after any miss. After a few such failures
        nothing is searched for a while.
        """
        policy = run.policy.near
        if policy is None or run.request.wishes is not None:
            # An order to run it again could not carry wishes, so what is served could not be checked.
            return None
        place = _place_of(run)
        if place is None or self._breaker.is_open():
            return None
        context, reading, buckets = place
        try:
            shelf = self._index.shelf(buckets, run.request.model)
            self._breaker.worked()
            guard = guard_of(policy, shelf.guard)
            now_s = epoch_ms(self._clock.now()) // 1000
            own = entry_id(run.key)
            likely = shortlist(NearSignature.of(reading), shelf.buckets, now=now_s, limit=policy.candidates)
            ids = [entry.entry_id for entry in likely if entry.entry_id != own]
            found = NearSearch(context.context_key, context.prompt, (), guard)
            alike = self._comparison(policy, context.prompt) if ids else None
            if alike is None:
                return found, None
            found = replace(found, candidates=self._compared(found, reading, ids, alike), vector=alike.vector)
            return self._matched(found, run, reader)
        except StorageError:
            self._breaker.failed()
            self._telemetry.count("CacheNearDown")
            return None

    def _comparison(self, policy: NearPolicy, prompt: str) -> _Comparison | None:
        """How to compare a prompt with others; None where that cannot be done now."""
        if policy.likeness is Likeness.WORDS:
            return None if self._by_words is None else _Comparison(prompt, words=self._by_words)
        vector = self._sentences(prompt)
        return _Comparison(prompt, vector=vector) if vector else None

    def _compared(
        self, found: NearSearch, reading: Reading, ids: Sequence[str], alike: _Comparison
    ) -> tuple[NearCandidate, ...]:
        """The entries with these ids as the verifier judges them: accepted ones first, then by score."""
        compared: list[NearCandidate] = []
        for filed in self._index.prompts(ids).values():
            if filed.context_key != found.context_key:
                continue
            verdict = verify_match(
                reading,
                read(filed.prompt),
                cosine=partial(alike.with_filed, filed),
                threshold=found.guard.bound.threshold,
            )
            compared.append(NearCandidate(filed.key, filed.made_ms, verdict.score, verdict.reasons))
        return tuple(sorted(compared, key=lambda each: (not each.agreed, -each.score, -each.made_ms, each.key)))

    def _matched(
        self, found: NearSearch, run: CachedRun, reader: CacheReader
    ) -> tuple[NearSearch, CachedAnswer | None]:
        """The first candidate whose entry suits the request."""
        taken = [candidate for candidate in found.candidates if candidate.agreed]
        for candidate in taken[:ANSWERS_READ]:
            answer = reader.look(run, candidate.key).answer
            if answer is None or answer.refusal is not None:
                continue
            if usable(answer, run.control, run.policy, epoch_ms(self._clock.now())) is CacheOutcome.HIT:
                return replace(found, match=candidate), answer
        return found, None

    def sample(self, run: CachedRun, seen: CacheSlot, served: CachedAnswer) -> None:
        """Have a near hit that was served run again, if it is in the sample. Never raises: a failure is not counted.

        Args:
            run: the request that was answered.
            seen: what its own key held.
            served: the answer that it was given.
        """
        policy, found = run.policy.near, run.trail.near
        if self._check is None or policy is None or found is None or found.match is None:
            return
        if not self._belongs(run, policy):
            return
        now = epoch_ms(self._clock.now())
        ticket = run.ticket(seen.fence + 1, now)
        try:
            until = now + run.order_lease_ms
            if self._answers.lead(run.key, seen, scope=run.scope, now_ms=now, until_ms=until) is None:
                self._check(run, ticket, {"key": found.match.key, "made_ms": served.made_ms})
        except StorageError:
            self._telemetry.count("CacheNearDown")

    @staticmethod
    def _belongs(run: CachedRun, policy: NearPolicy) -> bool:
        return selector_of(f"{run.trail.request_id}/near") < policy.sample

    @staticmethod
    def context(run: CachedRun) -> NearContext | None:
        """Where the answer to a request is filed; None if it takes no part in near matching."""
        place = None if run.policy.near is None else _place_of(run)
        return None if place is None else place[0]

    def kept(self, run: CachedRun, answer: CachedAnswer) -> None:
        """Have a new answer filed, so that the same question in other words finds it. Never raises."""
        policy = run.policy.near
        if policy is None or (policy.likeness is Likeness.WORDS and self._by_words is None):
            return
        context = None if answer.refusal is not None else self.context(run)
        if context is None:
            return
        search = run.trail.near
        order = filing_order(
            run.request.model,
            run.key,
            context.context_key,
            context.prompt,
            answer,
            vector=b"" if search is None else search.vector,
            beside=None if search is None else search.match,
        )
        try:
            self._file(run, order)
        except StorageError:
            self._telemetry.count("CacheNearDown")


def _place_of(run: CachedRun) -> tuple[NearContext, Reading, tuple[str, ...]] | None:
    """A request's context, its analysed prompt, and the prompt's buckets; None if it takes no part."""
    context = near_context(run.identity, request_body(run.request.input, run.request.parameters))
    if context is None or len(context.prompt) > LONGEST_PROMPT:
        return None
    reading = read(context.prompt)
    buckets = bucket_keys(context.context_key, reading)
    return (context, reading, buckets) if buckets else None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """How similar a prompt is to a filed one: by words, or by its vector if it has one."""

    prompt: str
    words: WordLikeness | None = None
    vector: bytes = b""

    def with_filed(self, filed: FiledPrompt) -> float:
        if self.words is not None:
            return self.words(self.prompt, filed.prompt)
        return vector_cosine(self.vector, filed.vector)
