"""OpenAI's routes that run inferences: a body in, an answer out, by whichever road its service tier asks for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tollgate.api.cache_wishes import wishes_of
from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.api.job_rendering import job_document, job_headers
from tollgate.api.openai.answers import (
    Served,
    chat_completion,
    embedding_list,
    fingerprint_of,
    served_by_job,
    text_completion,
    tier_used,
)
from tollgate.api.openai.chat_body import CHAT, chat_messages, chat_parameters
from tollgate.api.openai.event_stream import CONTENT_TYPE, chat_events, text_events
from tollgate.api.openai.reading import PRIORITY_OF_TIER, Body
from tollgate.api.openai.response_answers import job_response, served_response
from tollgate.api.openai.response_body import RESPONSE, chat_of, response_parameter
from tollgate.api.openai.text_bodies import (
    COMPLETION,
    EMBEDDING,
    completion_parameters,
    embedding_parameters,
    texts_of,
)
from tollgate.api.problems import problem_answer
from tollgate.api.rendering import choice_fields
from tollgate.api.repeating import once
from tollgate.api.wishes import read_wishes
from tollgate.domain.capabilities import Needs
from tollgate.domain.catalogue import InferenceType, ModelKind, Priority
from tollgate.domain.errors import (
    AnswerTooLargeError,
    BackendTimeoutError,
    ConflictError,
    InvalidRequestError,
    ModelFailedError,
    NotReadyError,
    TollgateError,
)
from tollgate.domain.jobs import FINAL_STATES, Job, JobState
from tollgate.domain.json_values import json_text
from tollgate.services.idempotent import Idempotency
from tollgate.services.infer import InferenceService
from tollgate.services.inference import Accepted, Completed, InferenceRequest
from tollgate.services.trail import Trail
from tollgate.services.wait import JobWaiter

if TYPE_CHECKING:
    from tollgate.api.openai.live_events import LiveEvents
    from tollgate.api.rendering import RateLimits

WAIT_SECONDS = 26.5
"""API Gateway answers within 29 s; what is left is for the answer itself."""

ANSWER_BYTES = 6_000_000
"""A little less than Lambda's limit of 6 MB for a response: headers have to fit as well.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_POLL_SECONDS = 5
_INFERENCES = "/v1/inferences/"
# The SDK would send the request again and pay for a second job; it obeys this header.
_NO_RETRY = {"x-should-retry": "false"}

Render = Callable[[Served], Answer]


class OpenAIApi:
    """Chat completions, completions, embeddings, and responses.

    Args:
        wait_seconds: that a caller waits for a job.
        limits: what callers who see their answer as it comes are told of their rates; others are told by the gateway.
    """

    def __init__(
        self,
        *,
        inference: InferenceService,
        idempotency: Idempotency,
        waiter: JobWaiter,
        wait_seconds: float = WAIT_SECONDS,
        limits: "RateLimits | None" = None,
    ) -> None:
        self._limits = limits
        self._wait_seconds = wait_seconds
        self._inference = inference
        self._idempotency = idempotency
        self._waiter = waiter
        self._routes: Mapping[str, Callable[[Call, Trail], Answer]] = {
            "POST /v1/chat/completions": self._chat,
            "POST /v1/completions": self._complete,
            "POST /v1/embeddings": self._embed,
            "POST /v1/responses": self._respond,
        }

    def answer(self, call: Call, trail: Trail) -> Answer:
        """The answer to an admitted call.

        Raises:
            TollgateError: what is wrong with the request, or with serving it.
        """
        return self._routes[call.route](call, trail)

    def _chat(self, call: Call, trail: Trail) -> Answer:
        body = CHAT.read(json_body(call))
        value: dict[str, Any] = {"messages": chat_messages(body["messages"])}
        if body.get("trim") is not None and body.get("documents") is not None:
            # To be trimmed and, where the container does not take documents, put before the question.
            value["documents"] = body["documents"]
            body = {name: part for name, part in body.items() if name != "documents"}
        parameters, needed = chat_parameters(body)
        request = self._request(call, body, value, parameters, Needs(ModelKind.CHAT, needed))
        live = _live(call, trail, body, self._limits)

        def render(served: Served) -> Answer:
            if body.get("stream"):
                return _ended(live, served, chat_events(served, include_usage=_include_usage(body)))
            return json_answer(200, chat_completion(served) | choice_fields(trail))

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _complete(self, call: Call, trail: Trail) -> Answer:
        body = COMPLETION.read(json_body(call))
        parameters, needed = completion_parameters(body)
        (prompt,) = texts_of(body, "prompt")
        request = self._request(call, body, {"inputs": prompt}, parameters, Needs(ModelKind.CHAT, needed))
        live = _live(call, trail, body, self._limits)

        def render(served: Served) -> Answer:
            if body.get("stream"):
                return _ended(live, served, text_events(served, include_usage=_include_usage(body)))
            return json_answer(200, text_completion(served) | choice_fields(trail))

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _embed(self, call: Call, trail: Trail) -> Answer:
        body = EMBEDDING.read(json_body(call))
        parameters, needed = embedding_parameters(body)
        texts = texts_of(body, "input")
        request = self._request(call, body, {"inputs": texts}, parameters, Needs(ModelKind.EMBEDDING, needed))

        def render(served: Served) -> Answer:
            document = embedding_list(served, texts, body.get("encoding_format") or "float")
            if len(document["data"]) != len(texts):
                raise ModelFailedError(
                    f"The model container gave {len(document['data'])} embeddings for {len(texts)} texts.",
                    original_status=502,
                )
            return json_answer(200, document)

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _respond(self, call: Call, trail: Trail) -> Answer:
        body = RESPONSE.read(json_body(call))
        chat = chat_of(body)
        parameters, needed = chat_parameters(chat)
        needs = Needs(ModelKind.CHAT, {response_parameter(name): value for name, value in needed.items()})
        request = self._request(call, body, {"messages": chat_messages(chat["messages"])}, parameters, needs)
        if body.get("background"):
            return self._in_background(call, trail, request, body.get("service_tier"))

        def render(served: Served) -> Answer:
            return json_answer(200, served_response(served, parameters, request.metadata) | choice_fields(trail))

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _in_background(self, call: Call, trail: Trail, request: InferenceRequest, tier: str | None) -> Answer:
        """A job under a response's name: on the batch road where that is the model's default, else asynchronous."""
        model = self._inference.catalogue().models.get(request.model)
        low = model is not None and model.default_priority is Priority.LOW and tier != "flex"

        def begin() -> Answer:
            later = replace(request, priority=Priority.LOW if low else Priority.MEDIUM)
            result = self._inference.infer(later, trail)
            if isinstance(result, Accepted):
                headers = {"x-tollgate-job-id": result.job.job_id}
                return json_answer(200, job_response(result.job, None), headers)
            served = self._served(result, trail, request.model, None)
            return json_answer(200, served_response(served, request.parameters, request.metadata))

        return once(self._idempotency, call, trail, begin)

    def _request(
        self, call: Call, body: Body, value: Any, parameters: Mapping[str, Any], needs: Needs
    ) -> InferenceRequest:
        priority = PRIORITY_OF_TIER[body.get("service_tier")]
        if priority is None and not _wants_async(call):
            model = self._inference.catalogue().models.get(body["model"])
            if model is not None and model.default_priority is Priority.LOW:
                # Nobody can wait for a batch with the connection open.
                priority = Priority.MEDIUM
        return InferenceRequest(
            model=body["model"],
            input=value,
            priority=priority,
            parameters=parameters,
            metadata=body.get("metadata") or {},
            needs=needs,
            cache=wishes_of(call.headers, body.get("cache")),
            wishes=read_wishes(body),
        )

    def _serve(self, call: Call, trail: Trail, request: InferenceRequest, tier: str | None, render: Render) -> Answer:
        def begin() -> Answer:
            result = self._inference.infer(request, trail)
            if isinstance(result, Accepted):
                headers = {"Location": _INFERENCES + result.job.job_id, "Retry-After": str(_POLL_SECONDS)}
                return json_answer(202, job_document(result.job), headers)
            return render(self._served(result, trail, request.model, tier))

        # A repetition finds the job of the first call and waits for it again.
        begun = once(self._idempotency, call, trail, begin)
        if begun.status != 202:
            return _fitting(call, begun)
        if _wants_async(call):
            return Answer(202, begun.body, {**begun.headers, "Preference-Applied": "respond-async"})
        return self._waited(call, trail, begun, render)

    @staticmethod
    def _served(result: Completed, trail: Trail, model: str, tier: str | None) -> Served:
        return Served(
            inference_id=result.inference_id,
            created_at=result.created_at,
            model=model,
            output=result.output,
            usage=trail.usage,
            tier=tier_used(InferenceType.REALTIME, asked_priority=tier == "priority"),
            fingerprint=fingerprint_of(trail.resource, trail.catalogue.version if trail.catalogue else 0),
        )

    def _waited(self, call: Call, trail: Trail, begun: Answer, render: Render) -> Answer:
        """What came of the job, with its own cost in the headers."""
        location = begun.headers["Location"]
        until = trail.started + self._wait_seconds
        try:
            job = self._waiter.wait(call.owner, location.removeprefix(_INFERENCES), until=until)
        except TollgateError as error:
            answer = problem_answer(error)
            return Answer(answer.status, answer.body, {**answer.headers, "Location": location, **_NO_RETRY})
        replayed = {name: value for name, value in begun.headers.items() if name == "x-tollgate-idempotent-replay"}
        headers = {**job_headers(job), **replayed, "x-tollgate-job-id": job.job_id}
        if replayed:
            headers |= {"x-tollgate-cost-usd": "0", "x-tollgate-avoided-cost-usd": "0"}
        try:
            if job.state is not JobState.COMPLETED:
                raise _unfinished(job)
            answer = _fitting(call, render(served_by_job(job, self._waiter.output(job))), location)
        except TollgateError as error:
            if job.state not in FINAL_STATES or isinstance(error, AnswerTooLargeError):
                headers["Location"] = location
            answer = problem_answer(error)
            headers |= _NO_RETRY
        return Answer(answer.status, answer.body, {**answer.headers, **headers})


def _unfinished(job: Job) -> TollgateError:
    reason = job.failure.message if job.failure else job.state.value
    match job.state:
        case JobState.FAILED if job.failure and job.failure.code == "invalid_request":
            return InvalidRequestError(reason)
        case JobState.FAILED:
            return ModelFailedError(reason, original_status=502)
        case JobState.EXPIRED:
            return BackendTimeoutError(reason)
        case JobState.CANCELLED:
            return ConflictError(f"Inference '{job.job_id}' was cancelled.")
        case _:
            return NotReadyError(
                f"Inference '{job.job_id}' is still {job.state}. It goes on: look for it at {_INFERENCES}{job.job_id}, "
                "or send 'Prefer: respond-async' to be answered at once.",
                retry_after=_POLL_SECONDS,
            )


def _fitting(call: Call, answer: Answer, location: str | None = None) -> Answer:
    """The answer, if a function may return it. What goes out piece by piece may be larger, and may have gone already.

    Raises:
        AnswerTooLargeError: says where the result of a job can be fetched.
    """
    if call.outlet is not None or len(answer.body) < ANSWER_BYTES // 8:
        return answer
    # The body travels as a text inside JSON, where quotation marks and line breaks take two bytes.
    size = len(json_text(answer.body).encode())
    if size <= ANSWER_BYTES:
        return answer
    where = f"Its result can be fetched from {location}." if location else "Ask for less, or with service_tier 'flex'."
    raise AnswerTooLargeError(f"The answer has {size} bytes; at most {ANSWER_BYTES} fit through the API. {where}")


def _live(call: Call, trail: Trail, body: Body, limits: "RateLimits | None") -> "LiveEvents | None":
    """What shows the caller the answer as it comes, where that was asked for and can be done."""
    if call.outlet is None or not body.get("stream"):
        return None
    # Only the streaming function has an outlet.
    from tollgate.api.openai.live_events import CHAT_CHUNKS, TEXT_CHUNKS, LiveEvents  # noqa: PLC0415 -- see above

    live = trail.live = LiveEvents(
        call.outlet,
        trail,
        chunks=CHAT_CHUNKS if call.route == "POST /v1/chat/completions" else TEXT_CHUNKS,
        model=body["model"],
        tier=body.get("service_tier"),
        include_usage=_include_usage(body),
        repeatable="idempotency-key" in call.headers,
        limits=limits,
    )
    return live


def _ended(live: "LiveEvents | None", served: Served, events: str) -> Answer:
    """A stream as a whole; whoever has seen it come is told its end, now that nothing can go wrong any more."""
    if live is not None and live.begun:
        live.finish(served.usage)
    return Answer(200, events, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-cache"})


def _include_usage(body: Body) -> bool:
    options = body.get("stream_options") or {}
    return options.get("include_usage") is True


def _wants_async(call: Call) -> bool:
    """RFC 7240; the header may hold several preferences."""
    preferences = call.headers.get("prefer", "").split(",")
    return any(entry.partition(";")[0].strip().lower() == "respond-async" for entry in preferences)
