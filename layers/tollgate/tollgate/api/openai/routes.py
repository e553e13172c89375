"""OpenAI's routes that run inferences: a body in, an answer out, by whichever road its service tier asks for."""

from collections.abc import Callable, Mapping
from copy import replace
from typing import TYPE_CHECKING, Any

from tollgate.api.cache_wishes import wishes_of
from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.api.job_rendering import job_document, job_headers
from tollgate.api.openai.answers import (
    Served,
    chat_completion,
    embedding_list,
    served_by_job,
    served_now,
    text_completion,
)
from tollgate.api.openai.ending import INFERENCES, NO_RETRY, POLL_SECONDS, fitting, unfinished, wants_async
from tollgate.api.openai.event_stream import CONTENT_TYPE, chat_events, text_events
from tollgate.api.openai.plain_chat import PRIORITY_OF_TIER, read_chat
from tollgate.api.problems import problem_answer
from tollgate.api.rendering import choice_fields
from tollgate.api.repeating import once, replay_headers
from tollgate.api.wishes import read_wishes
from tollgate.domain.catalogue import ModelKind, Priority
from tollgate.domain.errors import (
    AnswerTooLargeError,
    ModelFailedError,
    TollgateError,
)
from tollgate.domain.jobs.job import FINAL_STATES, JobState
from tollgate.domain.roads.capabilities import Needs
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.idempotency import Idempotency
from tollgate.services.requests.plan import Accepted, InferenceRequest
from tollgate.services.requests.trail import Trail

if TYPE_CHECKING:
    from tollgate.api.openai.live_events import EventForm, LiveEvents
    from tollgate.api.rendering import RateLimits

WAIT_SECONDS = 26.5
"""API Gateway answers within 29 s; what is left is for the answer itself."""

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
        body, value, parameters, needed = read_chat(json_body(call))
        request = self._request(call, body, value, parameters, Needs(ModelKind.CHAT, needed))
        live = self._live_chunks(call, trail, body)

        def render(served: Served) -> Answer:
            if body.get("stream"):
                return _ended(live, served, chat_events(served, include_usage=_include_usage(body)))
            return json_answer(200, chat_completion(served) | choice_fields(trail))

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _complete(self, call: Call, trail: Trail) -> Answer:
        # What follows the rules of pydantic's core is imported by the routes that need it.
        from tollgate.api.openai.text_bodies import COMPLETION, completion_parameters, texts_of  # noqa: PLC0415 -- see above

        body = COMPLETION.read(json_body(call))
        parameters, needed = completion_parameters(body)
        needs = Needs(ModelKind.CHAT, needed)
        requests = [
            self._request(call, body, {"inputs": prompt}, parameters, needs) for prompt in texts_of(body, "prompt")
        ]
        # The prompts of a list are answered one after the other, so nothing of it can be shown as it comes.
        live = self._live_chunks(call, trail, body) if len(requests) == 1 else None

        def render(served: Served) -> Answer:
            if body.get("stream"):
                return _ended(live, served, text_events(served, include_usage=_include_usage(body)))
            return json_answer(200, text_completion(served) | choice_fields(trail))

        if len(requests) == 1:
            return self._serve(call, trail, requests[0], body.get("service_tier"), render)
        # Few calls bring several.
        from tollgate.api.openai.prompt_lists import PromptList  # noqa: PLC0415 -- see above

        together = PromptList(self._inference, self._idempotency, self._waiter, self._wait_seconds)
        choices = body.get("n") or 1
        return together.answer(call, trail, requests, body.get("service_tier"), choices=choices, render=render)

    def _embed(self, call: Call, trail: Trail) -> Answer:
        from tollgate.api.openai.text_bodies import EMBEDDING, embedding_parameters, texts_of  # noqa: PLC0415 -- as above

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
        from tollgate.api.openai.chat_body import chat_messages, chat_parameters  # noqa: PLC0415 -- as above
        from tollgate.api.openai.response_answers import served_response  # noqa: PLC0415 -- as above
        from tollgate.api.openai.response_body import RESPONSE, chat_of, response_parameter  # noqa: PLC0415 -- as above

        body = RESPONSE.read(json_body(call))
        chat = chat_of(body)
        parameters, needed = chat_parameters(chat)
        needs = Needs(ModelKind.CHAT, {response_parameter(name): value for name, value in needed.items()})
        request = self._request(call, body, {"messages": chat_messages(chat["messages"])}, parameters, needs)
        if body.get("background"):
            return self._in_background(call, trail, request, body.get("service_tier"))
        if body.get("stream"):
            return self._respond_in_events(call, trail, body, request)

        def render(served: Served) -> Answer:
            return json_answer(200, served_response(served, parameters, request.metadata) | choice_fields(trail))

        return self._serve(call, trail, request, body.get("service_tier"), render)

    def _respond_in_events(
        self, call: Call, trail: Trail, body: Mapping[str, Any], request: InferenceRequest
    ) -> Answer:
        # Most responses are not streamed.
        from tollgate.api.openai.response_events import ResponseEvents, response_stream  # noqa: PLC0415 -- see above

        form = ResponseEvents(request.parameters, request.metadata)
        live = self._live(call, trail, body, form)

        def render(served: Served) -> Answer:
            told = response_stream(served, request.parameters, request.metadata, choice_fields(trail))
            return _ended(live, served, told)

        try:
            return self._serve(call, trail, request, body.get("service_tier"), render)
        except TollgateError as error:
            if call.outlet is not None and live is not None and live.begun:
                call.outlet.write(form.failed(error))
            raise

    def _in_background(self, call: Call, trail: Trail, request: InferenceRequest, tier: str | None) -> Answer:
        """A job under a response's name: on the batch road where that is the model's default, else asynchronous."""
        from tollgate.api.openai.response_answers import job_response, served_response  # noqa: PLC0415 -- as above

        model = self._inference.catalogue().models.get(request.model)
        low = model is not None and model.default_priority is Priority.LOW and tier != "flex"

        def begin() -> Answer:
            later = replace(request, priority=Priority.LOW if low else Priority.MEDIUM)
            result = self._inference.infer(later, trail)
            if isinstance(result, Accepted):
                headers = {"x-tollgate-job-id": result.job.job_id}
                return json_answer(200, job_response(result.job, None), headers)
            served = served_now(result, trail, request.model, None)
            return json_answer(200, served_response(served, request.parameters, request.metadata))

        return once(self._idempotency, call, trail, begin)

    def _request(
        self, call: Call, body: Mapping[str, Any], value: Any, parameters: Mapping[str, Any], needs: Needs
    ) -> InferenceRequest:
        priority = PRIORITY_OF_TIER[body.get("service_tier")]
        if priority is None and not wants_async(call):
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
                headers = {"Location": INFERENCES + result.job.job_id, "Retry-After": str(POLL_SECONDS)}
                return json_answer(202, job_document(result.job), headers)
            return render(served_now(result, trail, request.model, tier))

        # A repetition finds the job of the first call and waits for it again.
        begun = once(self._idempotency, call, trail, begin)
        if begun.status != 202:
            return fitting(call, begun)
        if wants_async(call):
            return Answer(202, begun.body, {**begun.headers, "Preference-Applied": "respond-async"})
        return self._waited(call, trail, begun, render)

    def _live_chunks(self, call: Call, trail: Trail, body: Mapping[str, Any]) -> "LiveEvents | None":
        if call.outlet is None or not body.get("stream"):
            return None
        # Only the streaming function has an outlet.
        from tollgate.api.openai.live_events import CHAT_CHUNKS, TEXT_CHUNKS, ChunkEvents  # noqa: PLC0415 -- see above

        chunks = CHAT_CHUNKS if call.route == "POST /v1/chat/completions" else TEXT_CHUNKS
        return self._live(call, trail, body, ChunkEvents(chunks, include_usage=_include_usage(body)))

    def _live(self, call: Call, trail: Trail, body: Mapping[str, Any], form: "EventForm") -> "LiveEvents | None":
        """What shows the caller the answer as it comes, where that can be done."""
        if call.outlet is None:
            return None
        from tollgate.api.openai.live_events import LiveEvents  # noqa: PLC0415 -- as above

        live = trail.live = LiveEvents(
            call.outlet,
            trail,
            form=form,
            model=body["model"],
            tier=body.get("service_tier"),
            repeatable="idempotency-key" in call.headers,
            limits=self._limits,
        )
        return live

    def _waited(self, call: Call, trail: Trail, begun: Answer, render: Render) -> Answer:
        """What came of the job, with its own cost in the headers."""
        location = begun.headers["Location"]
        until = trail.started + self._wait_seconds
        try:
            job = self._waiter.wait(call.owner, location.removeprefix(INFERENCES), until=until)
        except TollgateError as error:
            answer = problem_answer(error)
            return Answer(answer.status, answer.body, {**answer.headers, "Location": location, **NO_RETRY})
        headers = {**job_headers(job), **replay_headers(begun), "x-tollgate-job-id": job.job_id}
        try:
            if job.state is not JobState.COMPLETED:
                raise unfinished(job)
            answer = fitting(call, render(served_by_job(job, self._waiter.output(job))), location)
        except TollgateError as error:
            if job.state not in FINAL_STATES or isinstance(error, AnswerTooLargeError):
                headers["Location"] = location
            answer = problem_answer(error)
            headers |= NO_RETRY
        return Answer(answer.status, answer.body, {**answer.headers, **headers})


def _ended(live: "LiveEvents | None", served: Served, events: str) -> Answer:
    """A stream as a whole; whoever has seen it come is told its end, now that nothing can go wrong any more."""
    if live is not None and live.begun:
        live.finish(served.usage)
    return Answer(200, events, {"Content-Type": CONTENT_TYPE})


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options") or {}
    return options.get("include_usage") is True
