"""The routes over the cache: look, forget, and clients' own results."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tollgate.api.bodies import read_inference
from tollgate.api.cache_bodies import read_kept
from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.api.job_rendering import time_text, usage_document
from tollgate.api.near_rendering import search_document
from tollgate.api.problems import admitted, answered
from tollgate.api.telemetry import Telemetry
from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome, epoch_ms
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.money import money_text, usd_text
from tollgate.ports.system import Clock
from tollgate.services.cache.manage import CacheManager
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.trail import Trail

_SCOPES = {
    "POST /v1/cache/lookup": "infer",
    "DELETE /v1/cache": "infer",
    "PUT /v1/cache/{namespace}/{key}": "infer",
    "GET /v1/cache/{namespace}/{key}": "infer",
    "DELETE /v1/cache/{namespace}/{key}": "infer",
}
_SELECTORS = ("key", "model", "namespace", "all")


class CacheApi:
    """Turns calls about the cache into answers."""

    def __init__(
        self, *, inference: InferenceService, manager: CacheManager, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._inference = inference
        self._manager = manager
        self._telemetry = telemetry
        self._clock = clock
        self._routes: Mapping[str, Callable[[Call], Answer]] = {
            "POST /v1/cache/lookup": self._lookup,
            "DELETE /v1/cache": self._forget,
            "PUT /v1/cache/{namespace}/{key}": self._keep,
            "GET /v1/cache/{namespace}/{key}": self._kept,
            "DELETE /v1/cache/{namespace}/{key}": self._drop,
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every `TollgateError` becomes one in the error shape."""
        return answered(call, self._admitted, self._telemetry, "cache_call")

    def _admitted(self, call: Call) -> Answer:
        return admitted(call, self._routes.get(call.route), _SCOPES.get(call.route, ""))(call)

    def _lookup(self, call: Call) -> Answer:
        request = read_inference(json_body(call), call.headers)
        trail = Trail(request_id=call.request_id, owner=call.owner, started=self._clock.monotonic())
        key, outcome, answer = self._inference.lookup(request, trail)
        document: dict[str, Any] = {
            "object": "cache.lookup",
            "model": request.model,
            "key": key,
            "cache": outcome.value,
            "deployment": trail.resource,
        }
        headers = {"x-tollgate-cache": outcome.value, "x-tollgate-cost-usd": "0"}
        if answer is not None:
            age = answer.age_seconds(epoch_ms(self._clock.now()))
            document |= _entry(answer) | {"age_seconds": age}
            headers["Age"] = str(age)
        elif outcome is CacheOutcome.MISS:
            document["estimated_cost_usd"] = money_text(trail.estimated_cost)
        if trail.near is not None:
            document["near"] = search_document(trail.near, epoch_ms(self._clock.now()))
        return json_answer(200, document, headers)

    def _forget(self, call: Call) -> Answer:
        named = [(name, call.query[name]) for name in _SELECTORS if call.query.get(name)]
        if len(named) != 1:
            raise InvalidRequestError("Name one thing to forget: key=, model=, namespace= or all=true.")
        ((what, name),) = named
        match what:
            case "key":
                self._manager.forget_entry(call.owner, name)
            case "model":
                self._manager.forget_model(call.owner, name)
            case "namespace":
                self._manager.forget_namespace(call.owner, name)
            case _:
                if name != "true":
                    raise InvalidRequestError("'all' must be true.", param="all")
                self._manager.forget_all(call.owner)
        return json_answer(200, {"object": "cache.deleted", what: name, "deleted": True})

    def _keep(self, call: Call) -> Answer:
        value, ttl = read_kept(json_body(call))
        namespace, key = _names(call)
        kept, cost = self._manager.keep(call.owner, namespace, key, value, ttl, request_id=call.request_id)
        headers = {} if cost is None else {"x-tollgate-cost-usd": usd_text(cost)}
        document = {"object": "cache.value", "namespace": namespace, "key": key, "expires_at": _time(kept.expires_ms)}
        return json_answer(200, document, headers)

    def _kept(self, call: Call) -> Answer:
        namespace, key = _names(call)
        kept = self._manager.kept(call.owner, namespace, key)
        document = {
            "object": "cache.value",
            "namespace": namespace,
            "key": key,
            "value": kept.value,
            "expires_at": _time(kept.expires_ms),
        }
        return json_answer(200, document, {"Age": str(self._manager.age_seconds(kept)), "x-tollgate-cache": "hit"})

    def _drop(self, call: Call) -> Answer:
        namespace, key = _names(call)
        self._manager.drop(call.owner, namespace, key)
        return json_answer(200, {"object": "cache.deleted", "namespace": namespace, "key": key, "deleted": True})


def _names(call: Call) -> tuple[str, str]:
    return call.path_parameters.get("namespace", ""), call.path_parameters.get("key", "")


def _entry(answer: CachedAnswer) -> dict[str, Any]:
    refusal = answer.refusal
    return {
        "output": answer.output,
        "refusal": None if refusal is None else {"message": refusal.message, "status": refusal.status},
        "usage": usage_document(answer.usage),
        "avoided_cost_usd": money_text(answer.worth),
        "fresh_until": _time(answer.fresh_ms),
    }


def _time(moment_ms: int) -> str | None:
    return time_text(datetime.fromtimestamp(moment_ms / 1000, UTC))
