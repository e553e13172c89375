"""The routes over jobs: list, look, cancel."""

from collections.abc import Callable, Mapping

from tollgate.api.http import Answer, Call, json_answer
from tollgate.api.job_rendering import job_document, job_headers
from tollgate.api.problems import admitted, answered
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import NotFoundError, UnsupportedParameterError
from tollgate.domain.jobs.job import OPEN_STATES
from tollgate.services.jobs.queries import JobQueries

_POLL_SECONDS = "2"
_SCOPES = {
    "GET /v1/inferences": "read",
    "GET /v1/inferences/{id}": "read",
    "DELETE /v1/inferences/{id}": "cancel",
    "GET /v1/responses/{id}": "read",
    "POST /v1/responses/{id}/cancel": "cancel",
}


class JobsApi:
    """Turns calls about jobs into answers."""

    def __init__(self, *, queries: JobQueries, telemetry: Telemetry) -> None:
        self._queries = queries
        self._telemetry = telemetry
        self._routes: Mapping[str, Callable[[Call], Answer]] = {
            "GET /v1/inferences": self._list,
            "GET /v1/inferences/{id}": self._get,
            "DELETE /v1/inferences/{id}": self._cancel,
            "GET /v1/responses/{id}": self._response,
            "POST /v1/responses/{id}/cancel": self._response,
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every `TollgateError` becomes one in the error shape."""
        return answered(call, self._admitted, self._telemetry, "jobs_call")

    def _admitted(self, call: Call) -> Answer:
        return admitted(call, self._routes.get(call.route), _SCOPES.get(call.route, ""))(call)

    def _get(self, call: Call) -> Answer:
        job = self._queries.get(call.owner, call.path_parameters.get("id", ""))
        headers = job_headers(job)
        if job.state in OPEN_STATES:
            headers["Retry-After"] = _POLL_SECONDS
        return json_answer(200, job_document(job, result_url=self._queries.result_url(job)), headers)

    def _list(self, call: Call) -> Answer:
        query = call.query
        page = self._queries.list(
            call.owner, status=query.get("status"), limit=query.get("limit"), after=query.get("after")
        )
        jobs = [job_document(job, result_url=self._queries.result_url(job)) for job in page.jobs]
        return json_answer(
            200, {"object": "list", "data": jobs, "after": page.after, "has_more": page.after is not None}
        )

    def _cancel(self, call: Call) -> Answer:
        job = self._queries.cancel(call.owner, call.path_parameters.get("id", ""))
        return json_answer(200, job_document(job), job_headers(job))

    def _response(self, call: Call) -> Answer:
        # Only clients of OpenAI's API ask for responses; the others need not pay for the import.
        from tollgate.api.openai.response_answers import (  # noqa: PLC0415 -- see above
            is_chat,
            job_id_of,
            job_response,
        )

        given = call.path_parameters.get("id", "")
        unknown = NotFoundError(
            f"There is no response '{given[:100]}'. One that was answered at once, from the cache too, is not kept.",
            param="id",
        )
        try:
            job = self._queries.get(call.owner, job_id_of(given))
        except NotFoundError:
            raise unknown from None
        if not given.startswith("resp_") or not is_chat(job):
            raise unknown
        if call.query.get("stream") == "true":
            # OpenAI's client would take an answer without events for an empty stream.
            raise UnsupportedParameterError("A background response is not streamed; look it up.", param="stream")
        if call.route.startswith("POST"):
            job = self._queries.cancel(call.owner, job.job_id)
        return json_answer(200, job_response(job, self._queries.output(job)), job_headers(job))
