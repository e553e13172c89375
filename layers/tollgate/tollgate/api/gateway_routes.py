"""The gateway's routes: a call in, an answer out. Every route that can cost money is admitted here, and only here."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tollgate.api.bodies import read_inference
from tollgate.api.http import Answer, Call, answer_text, json_answer, json_body
from tollgate.api.job_rendering import job_document
from tollgate.api.problems import admitted, problem_answer, problem_of, unexpected
from tollgate.api.rendering import (
    RateLimits,
    choice_fields,
    completed_document,
    decision_document,
    model_document,
    models_document,
    trail_headers,
)
from tollgate.api.repeating import once
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import BodyTooLargeError, TollgateError
from tollgate.domain.records import CALLER_GONE
from tollgate.domain.trace import continue_trace
from tollgate.ports.system import Clock
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.admission import NO_RUN, Run
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.idempotency import Idempotency
from tollgate.services.requests.plan import Accepted, InferenceRequest
from tollgate.services.requests.trail import Trail

BODY_LIMIT = 6_291_456
"""Bytes; of a function's whole event. API Gateway takes 10 MB, but cannot hand them on. Held here for the local stack,
which can. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_SMALL_ANSWER = 500_000
"""Characters; what is no longer fits through the API however it is written."""

_OPENAI_ROUTES = ("POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/responses")

_SCOPES = {
    "POST /v1/inferences": "infer",
    "POST /v1/route": "infer",
    "GET /v1/models": "read",
    "GET /v1/models/{model}": "read",
    "GET /v1/openapi.json": "read",
    **dict.fromkeys(_OPENAI_ROUTES, "infer"),
    "POST /v1/feedback": "infer",
}


class RoutesOnDemand(Protocol):
    """Routes whose code is imported when the first call for them comes, as the cold start of others should not pay."""

    def answer(self, call: Call, trail: Trail) -> Answer:
        """The answer to an admitted call.

        Raises:
            TollgateError: see `api.problems`.
        """


class GatewayApi:
    """Turns calls into answers, and leaves one record of each.

    Args:
        random_hex: 48 hexadecimal digits, for a new trace and its span.
        check_webhook: raises `InvalidRequestError` for a URL that may not be called.
        openai: OpenAI's routes.
        waiter: waits for a job on behalf of callers who ask for that.
        feedback: the route of feedback.
        limits: what answers say of rate limits.
    """

    def __init__(
        self,
        *,
        inference: InferenceService,
        idempotency: Idempotency,
        telemetry: Telemetry,
        clock: Clock,
        random_hex: Callable[[], str],
        check_webhook: Callable[[str], object],
        openai: Callable[[], RoutesOnDemand],
        waiter: JobWaiter,
        feedback: Callable[[], RoutesOnDemand],
        limits: RateLimits,
    ) -> None:
        self._inference = inference
        self._idempotency = idempotency
        self._telemetry = telemetry
        self._clock = clock
        self._random_hex = random_hex
        self._check_webhook = check_webhook
        self._waiter = waiter
        self._limits = limits
        self._routes: Mapping[str, Callable[[Call, Trail], Answer]] = {
            "POST /v1/inferences": self._infer,
            "POST /v1/route": self._route,
            "GET /v1/models": self._models,
            "GET /v1/models/{model}": self._model,
            "GET /v1/openapi.json": self._openapi,
            **dict.fromkeys(_OPENAI_ROUTES, lambda call, trail: openai().answer(call, trail)),
            "POST /v1/feedback": lambda call, trail: feedback().answer(call, trail),
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every error becomes one in the error shape."""
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
            handler = self._admitted(call)
            trail.run = self._run(call)
            answer = handler(call, trail)
            if trail.caller_gone:
                outcome, code = "cancelled", CALLER_GONE
            elif call.route == "POST /v1/route":
                outcome = "routed"
            elif answer.status == 202 or trail.job_id:
                outcome = "accepted"
        except TollgateError as error:
            answer, outcome, code = _refused(error)
        except Exception as error:  # noqa: BLE001 -- what it cost is recorded, and Lambda would log what it quotes
            answer, outcome, code = _refused(unexpected(error, self._telemetry, call.request_id))
        ended = self._clock.monotonic()
        self._telemetry.request(trail.record(outcome=outcome, status=answer.status, ended=ended, error_code=code))
        limits = self._limits.headers(trail.admitted)
        took = {"openai-processing-ms": str(round((ended - trail.started) * 1000))}
        return Answer(answer.status, answer.body, {**limits, **took, **trail_headers(trail), **answer.headers})

    @staticmethod
    def _run(call: Call) -> Run:
        named = "x-tollgate-workflow" in call.headers or "x-tollgate-parent" in call.headers
        if not named or call.route.startswith("GET"):
            return NO_RUN
        # Most requests belong to no run and need not pay for the import.
        from tollgate.api.run_headers import run_of  # noqa: PLC0415 -- see above

        return run_of(call.headers)

    def _admitted(self, call: Call) -> Callable[[Call, Trail], Answer]:
        """The handler of a call, if the call may pass.

        Raises:
            NotFoundError: no such route.
            ScopeError: the key may not use it.
            BodyTooLargeError
        """
        handler = admitted(call, self._routes.get(call.route), _SCOPES.get(call.route, ""))
        if len(call.body) > BODY_LIMIT:
            raise BodyTooLargeError(
                f"The body has {len(call.body)} bytes; at most {BODY_LIMIT} reach the gateway. "
                "Put large inputs into the bucket under batch-input/<model>/."
            )
        return handler

    def _infer(self, call: Call, trail: Trail) -> Answer:
        # Read first, so that a malformed request is refused the same way with and without an idempotency key.
        request = self._request(call)
        answer = once(self._idempotency, call, trail, lambda: self._infer_now(request, trail))
        if len(answer.body) > _SMALL_ANSWER:
            # Few answers are so large that they may not fit.
            from tollgate.api.openai.ending import fitting  # noqa: PLC0415 -- see above

            fitting(call, answer)
        if answer.status != 202 or "prefer" not in call.headers:
            return answer
        # Few callers wait for a job.
        from tollgate.api.prefer_wait import waited  # noqa: PLC0415 -- see above

        return waited(call, answer, trail, self._waiter, self._clock.monotonic())

    def _request(self, call: Call) -> InferenceRequest:
        request = read_inference(json_body(call), call.headers)
        if request.webhook_url is not None:
            self._check_webhook(request.webhook_url)
        return request

    def _infer_now(self, request: InferenceRequest, trail: Trail) -> Answer:
        result = self._inference.infer(request, trail)
        if isinstance(result, Accepted):
            # Polling before the answer can be there would only cost money.
            wait = max(1, min(30, round(result.expected_seconds)))
            headers = {"Location": f"/v1/inferences/{result.job.job_id}", "Retry-After": str(wait)}
            return json_answer(202, job_document(result.job) | choice_fields(trail), headers)
        return Answer(200, answer_text(completed_document(result, trail, request.model)))

    def _route(self, call: Call, trail: Trail) -> Answer:
        request = self._request(call)
        decision = self._inference.decide(request, trail)
        return json_answer(200, decision_document(decision, request.model, trail))

    def _models(self, _call: Call, trail: Trail) -> Answer:
        trail.catalogue = self._inference.catalogue()
        return json_answer(200, models_document(trail.catalogue))

    def _model(self, call: Call, trail: Trail) -> Answer:
        trail.catalogue = self._inference.catalogue()
        return json_answer(200, model_document(trail.catalogue.model(call.path_parameters.get("model", ""))))

    @staticmethod
    def _openapi(_call: Call, _trail: Trail) -> Answer:
        from tollgate.api.openapi_file import openapi_text  # noqa: PLC0415 -- asked for by people, not on the hot path

        return Answer(200, openapi_text())


def _refused(error: TollgateError) -> tuple[Answer, str, str]:
    """The answer that tells of an error, with the outcome and the code of its record."""
    problem = problem_of(error)
    return problem_answer(error), problem.outcome, problem.code
