"""``Idempotency-Key`` for routes that cost money: the first answer again, at no cost."""

from collections.abc import Callable, Mapping

from tollgate.api.http import Answer, Call
from tollgate.api.rendering import trail_headers
from tollgate.ports.idempotency import StoredAnswer
from tollgate.services.requests.idempotency import Idempotency, fingerprint_of, name_of
from tollgate.services.requests.trail import Trail

_NOT_REPLAYED = {
    "x-tollgate-request-id",
    "x-request-id",
    "x-tollgate-cost-usd",
    "x-tollgate-avoided-cost-usd",
    "x-tollgate-budget-remaining-usd",
    "x-tollgate-cache",
    "x-tollgate-cache-matched",
    "Age",
    "traceparent",
}
# The first answer paid for the inference; adding up the headers of all answers must not count it twice.
REPLAY_HEADERS = {
    "x-tollgate-cost-usd": "0",
    "x-tollgate-avoided-cost-usd": "0",
    "x-tollgate-idempotent-replay": "true",
}


def replay_headers(begun: Answer) -> Mapping[str, str]:
    """What an answer about a job adds to its headers, if the job was begun by an earlier call with the same key."""
    return REPLAY_HEADERS if "x-tollgate-idempotent-replay" in begun.headers else {}


def once(idempotency: Idempotency, call: Call, trail: Trail, produce: Callable[[], Answer]) -> Answer:
    """The answer that `produce` gives, or gave to an earlier call with the same key.

    Raises:
        TollgateError: whatever `produce` raises, or what is wrong with the key.
    """
    key = call.headers.get("idempotency-key")
    if key is None:
        return produce()

    def fresh() -> StoredAnswer:
        answer = produce()
        kept = {name: value for name, value in trail_headers(trail).items() if name not in _NOT_REPLAYED}
        return StoredAnswer(answer.status, {**kept, **answer.headers}, answer.body)

    fingerprint = fingerprint_of(call.route, call.body)
    trail.once = name_of(call.owner, key, fingerprint)
    stored = idempotency.run(call.owner, key, fingerprint, fresh)
    if trail.inference_type is not None:
        return Answer(stored.status, stored.body, stored.headers)
    return Answer(stored.status, stored.body, {**stored.headers, **REPLAY_HEADERS})
