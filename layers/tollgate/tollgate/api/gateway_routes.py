"""The gateway's routes: a call in, an answer out. The one place where every costly route is admitted."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tollgate.api.bodies import read_inference
from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.api.problems import error_body, problem_of, retry_after
from tollgate.api.rendering import (
    completed_document,
    decision_document,
    job_document,
    models_document,
    trail_headers,
)
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import BodyTooLargeError, NotFoundError, ScopeError, TollgateError
from tollgate.domain.json_values import compact_json
from tollgate.domain.trace import continue_trace
from tollgate.ports import Clock, StoredAnswer
from tollgate.services.idempotent import Idempotency, fingerprint_of
from tollgate.services.infer import Accepted, InferenceRequest, InferenceService, Trail

BODY_LIMIT = 10 * 1024 * 1024
"""Bytes; API Gateway's own limit. https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""

_NOT_REPLAYED = {
    "x-tollgate-request-id",
    "x-tollgate-cost-usd",
    "x-tollgate-avoided-cost-usd",
    "x-tollgate-budget-remaining-usd",
    "traceparent",
}

_SCOPES = {"POST /v1/inferences": "infer", "POST /v1/route": "infer", "GET /v1/models": "read"}


class GatewayApi:
    """Turns calls into answers, and leaves one record of each."""

    def __init__(
        self,
        *,
        inference: InferenceService,
        idempotency: Idempotency,
        telemetry: Telemetry,
        clock: Clock,
        random_hex: Callable[[], str],
        check_webhook: Callable[[str], object],
    ) -> None:
        self._inference = inference
        self._idempotency = idempotency
        self._telemetry = telemetry
        self._clock = clock
        self._random_hex = random_hex
        self._check_webhook = check_webhook
        self._routes: Mapping[str, Callable[[Call, Trail], Answer]] = {
            "POST /v1/inferences": self._infer,
            "POST /v1/route": self._route,
            "GET /v1/models": self._models,
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every `TollgateError` becomes one in the error shape."""
        trail = Trail(
            request_id=call.request_id,
            owner=call.owner,
            started=self._clock.monotonic(),
            traceparent=continue_trace(
                call.headers.get("traceparent"), call.headers.get("x-amzn-trace-id"), random_hex=self._random_hex()
            ),
        )
        outcome, code = "completed", ""
        try:
            answer = self._admitted(call)(call, trail)
            if answer.status == 202:
                outcome = "accepted"
        except TollgateError as error:
            problem = problem_of(error)
            outcome, code = ("failed" if problem.status >= 500 else "rejected"), problem.code
            headers = {}
            if (wait := retry_after(error, problem)) is not None:
                headers["Retry-After"] = str(wait)
            answer = json_answer(problem.status, error_body(error.message, problem, error.param), headers)
        record = trail.record(outcome=outcome, status=answer.status, ended=self._clock.monotonic(), error_code=code)
        self._telemetry.request(record)
        return Answer(answer.status, answer.body, {**trail_headers(trail), **answer.headers})

    def _admitted(self, call: Call) -> Callable[[Call, Trail], Answer]:
        """The handler of a call that may pass.

        Raises:
            NotFoundError: no such route.
            ScopeError: the key may not use it.
            BodyTooLargeError
        """
        handler = self._routes.get(call.route)
        if handler is None:
            raise NotFoundError(f"There is no route '{call.route[:100]}'.")
        scope = _SCOPES[call.route]
        if not call.owner.scopes & {scope, "admin"}:
            raise ScopeError(f"This API key lacks the scope '{scope}'.")
        if len(call.body) > BODY_LIMIT:
            raise BodyTooLargeError(
                f"The body has {len(call.body)} bytes; the limit is {BODY_LIMIT}. "
                "Put large inputs into the bucket under batch-input/<model>/."
            )
        return handler

    def _infer(self, call: Call, trail: Trail) -> Answer:
        key = call.headers.get("idempotency-key")
        if key is None:
            return self._infer_now(self._request(call), trail)
        # Read first: a malformed request is refused the same way with and without a key.
        request = self._request(call)

        def produce() -> StoredAnswer:
            fresh = self._infer_now(request, trail)
            kept = {name: value for name, value in trail_headers(trail).items() if name not in _NOT_REPLAYED}
            return StoredAnswer(fresh.status, {**kept, **fresh.headers}, fresh.body)

        stored = self._idempotency.run(call.owner, key, fingerprint_of(call.route, call.body), produce)
        if trail.inference_type is not None:
            return Answer(stored.status, stored.body, stored.headers)
        # The first answer paid for the inference; adding up the headers of all answers must not count it twice.
        replay = {
            "x-tollgate-cost-usd": "0",
            "x-tollgate-avoided-cost-usd": "0",
            "x-tollgate-idempotent-replay": "true",
        }
        return Answer(stored.status, stored.body, {**stored.headers, **replay})

    def _request(self, call: Call) -> InferenceRequest:
        request = read_inference(json_body(call))
        if request.webhook_url is not None:
            self._check_webhook(request.webhook_url)
        if "x-tollgate-workflow" in call.headers or "x-tollgate-parent" in call.headers:
            # Most requests belong to no run and need not pay for the import.
            from tollgate.api.run_headers import run_of  # noqa: PLC0415 -- see above

            return replace(request, run=run_of(call.headers))
        return request

    def _infer_now(self, request: InferenceRequest, trail: Trail) -> Answer:
        result = self._inference.infer(request, trail)
        if isinstance(result, Accepted):
            # Polling before the answer can be there only costs money.
            wait = max(1, min(30, round(result.expected_seconds)))
            headers = {"Location": f"/v1/inferences/{result.job.job_id}", "Retry-After": str(wait)}
            return json_answer(202, job_document(result.job), headers)
        return Answer(200, compact_json(completed_document(result, trail, request.model)))

    def _route(self, call: Call, trail: Trail) -> Answer:
        request = self._request(call)
        decision = self._inference.decide(request, trail)
        return json_answer(200, decision_document(decision, request.model))

    def _models(self, _call: Call, trail: Trail) -> Answer:
        trail.catalogue = self._inference.catalogue()
        return json_answer(200, models_document(trail.catalogue))
