"""Answers to other words of the same question: looked for after an exact miss, and only where a model opts in.

A search makes at most two reads of the index (`near_index`), each of at most seven items, and two of answers. What it
finds is served only if the verifier agrees, the entry is there, fresh and not forgotten, and the model's guard serves.
A small sample of what was served is run again as refreshes are, see `near_upkeep`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tollgate.domain.cache_entry import CacheOutcome, usable
from tollgate.domain.cache_identity import request_body
from tollgate.domain.cache_key import near_context
from tollgate.domain.errors import StorageError
from tollgate.domain.near_guard import guard_of
from tollgate.domain.near_index import shortlist
from tollgate.domain.near_match import verify_match
from tollgate.domain.near_reading import read
from tollgate.domain.near_record import NearCandidate, NearSearch, entry_id
from tollgate.domain.near_signature import NearSignature, bucket_keys
from tollgate.domain.selection import selector_of
from tollgate.services.cache_breaker import CacheBreaker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tollgate.domain.cache_entry import CachedAnswer, CacheSlot
    from tollgate.domain.cache_key import NearContext
    from tollgate.domain.cache_ticket import CacheTicket
    from tollgate.domain.near_policy import NearPolicy
    from tollgate.domain.near_reading import Reading
    from tollgate.ports.cache import AnswerStore
    from tollgate.ports.near import Likeness, NearStore
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.cache_reader import CacheReader
    from tollgate.services.cached_run import CachedRun

ANSWERS_READ = 2
"""Of accepted candidates, the likeliest first. The first is nearly always there."""


LONGEST_PROMPT = 2_000
"""Characters. Longer ones are not even read: few are of so few words, and reading takes time by length."""


class NearAnswers:
    """Looks for near matches, and has new answers filed.

    Args:
        index: where prompts are filed.
        answers: for the leases under which a sample is run again.
        likeness: similarity of two texts; None where nothing can tell, then there are no near matches.
        file: takes the order to file an answer, see `near_upkeep`.
        check: has a request run again elsewhere, for comparison with what was served; None where nothing can.
    """

    def __init__(
        self,
        *,
        index: NearStore,
        answers: AnswerStore,
        likeness: Likeness | None,
        file: Callable[[CachedRun, Mapping[str, Any]], None],
        check: Callable[[CachedRun, CacheTicket, Mapping[str, Any]], None] | None,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._index = index
        self._answers = answers
        self._likeness = likeness
        self._file = file
        self._check = check
        self._clock = clock
        self._telemetry = telemetry
        self._breaker = CacheBreaker(clock)
        if likeness is None:
            telemetry.log("WARNING", "near matching is off: the word vectors are not there")

    def search(self, run: CachedRun, reader: CacheReader) -> tuple[NearSearch, CachedAnswer | None] | None:
        """What a search finds, with the entry of its match; None where there can be no near match.

        A table that does not answer is no match: the request goes on as after any other miss, and after a few of those
        nothing is searched for a while.
        """
        policy, likeness = run.policy.near, self._likeness
        if policy is None or likeness is None or run.request.wishes is not None:
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
            now_s = self._now_ms() // 1000
            own = entry_id(run.key)
            likely = shortlist(NearSignature.of(reading), shelf.buckets, now=now_s, limit=policy.candidates)
            ids = [entry.entry_id for entry in likely if entry.entry_id != own]
            found = NearSearch(context.context_key, context.prompt, (), guard)
            if not ids:
                return found, None
            candidates = self._compared(found, reading, ids, guard.bound.threshold, likeness)
            found = NearSearch(context.context_key, context.prompt, candidates, guard)
            return self._matched(found, run, reader)
        except StorageError:
            self._breaker.failed()
            self._telemetry.count("CacheNearDown")
            return None

    def _compared(
        self, found: NearSearch, reading: Reading, ids: Sequence[str], threshold: float, likeness: Likeness
    ) -> tuple[NearCandidate, ...]:
        """The entries behind these ids as the verifier sees them, those that it takes first, then by score."""
        compared: list[NearCandidate] = []
        for filed in self._index.prompts(ids).values():
            if filed.context_key != found.context_key:
                continue
            verdict = verify_match(
                reading,
                read(filed.prompt),
                cosine=partial(likeness, found.prompt, filed.prompt),
                threshold=threshold,
            )
            compared.append(NearCandidate(filed.key, filed.made_ms, verdict.score, verdict.reasons))
        return tuple(sorted(compared, key=lambda each: (not each.agreed, -each.score, -each.made_ms, each.key)))

    def _matched(
        self, found: NearSearch, run: CachedRun, reader: CacheReader
    ) -> tuple[NearSearch, CachedAnswer | None]:
        """The first candidate that has an entry which suits the request."""
        taken = [candidate for candidate in found.candidates if candidate.agreed]
        for candidate in taken[:ANSWERS_READ]:
            answer = reader.look(run, candidate.key).answer
            if answer is None or answer.refusal is not None:
                continue
            if usable(answer, run.control, run.policy, self._now_ms()) is CacheOutcome.HIT:
                return NearSearch(found.context_key, found.prompt, found.candidates, found.guard, candidate), answer
        return found, None

    def sample(self, run: CachedRun, seen: CacheSlot, served: CachedAnswer) -> None:
        """Have a served near hit run again, if it belongs to the sample. Never raises: what fails is not counted.

        Args:
            run: that was answered.
            seen: what was under its own key.
            served: the answer that it got.
        """
        policy, found = run.policy.near, run.trail.near
        if self._check is None or policy is None or found is None or found.match is None or not run.control.store:
            return
        if not self._belongs(run, policy):
            return
        now = self._now_ms()
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

    def kept(self, run: CachedRun, answer: CachedAnswer) -> None:
        """Have a new answer filed, so that other words of its question find it. Never raises."""
        if run.policy.near is None or self._likeness is None or answer.refusal is not None:
            return
        place = _place_of(run)
        if place is None:
            return
        try:
            self._file(run, filing_of(run, place[0], answer))
        except StorageError:
            self._telemetry.count("CacheNearDown")

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _place_of(run: CachedRun) -> tuple[NearContext, Reading, tuple[str, ...]] | None:
    """A request's context, its prompt as read, and the prompt's buckets; None where it takes no part."""
    context = near_context(run.identity, request_body(run.request.input, run.request.parameters))
    if context is None or len(context.prompt) > LONGEST_PROMPT:
        return None
    reading = read(context.prompt)
    buckets = bucket_keys(context.context_key, reading)
    return (context, reading, buckets) if buckets else None


def filing_of(run: CachedRun, context: NearContext, answer: CachedAnswer) -> dict[str, Any]:
    """The order to file an answer.

    `beside` names the match that was not served because the guard does not serve: a comparison that costs nothing.
    """
    match = None if run.trail.near is None else run.trail.near.match
    return {
        "kind": "near",
        "model": run.request.model,
        "key": run.key,
        "context": context.context_key,
        "prompt": context.prompt,
        "made_ms": answer.made_ms,
        "expires_s": answer.fresh_ms // 1000,
        "beside": None if match is None else {"key": match.key, "made_ms": match.made_ms},
    }
