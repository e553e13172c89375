"""Domain errors as HTTP answers, in OpenAI's error shape: one table, nothing elsewhere."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.api.http import Answer, Call, json_answer
from tollgate.domain import errors

if TYPE_CHECKING:
    from tollgate.api.telemetry import Telemetry


class Problem(NamedTuple):
    """An error as the caller sees it; `asked_for` if the caller preferred it to a run."""

    status: int
    type: str
    code: str
    asked_for: bool = False

    @property
    def outcome(self) -> str:
        """The outcome in the request's record: failed if the cause is on our side, otherwise rejected."""
        return "failed" if self.status >= 500 and not self.asked_for else "rejected"


_TABLE: dict[type[errors.TollgateError], Problem] = {
    errors.InvalidRequestError: Problem(400, "invalid_request_error", "invalid_request"),
    errors.UnknownModelError: Problem(404, "invalid_request_error", "model_not_found"),
    errors.UnsupportedParameterError: Problem(400, "invalid_request_error", "unsupported_parameter"),
    errors.BodyTooLargeError: Problem(413, "invalid_request_error", "request_too_large"),
    errors.DeadlineImpossibleError: Problem(422, "invalid_request_error", "deadline_impossible"),
    errors.IdempotencyMismatchError: Problem(422, "invalid_request_error", "idempotency_key_reused"),
    errors.AuthenticationError: Problem(401, "authentication_error", "invalid_api_key"),
    errors.ScopeError: Problem(403, "permission_error", "insufficient_scope"),
    errors.NotFoundError: Problem(404, "invalid_request_error", "not_found"),
    errors.ConflictError: Problem(409, "conflict_error", "conflict"),
    errors.BusyError: Problem(409, "conflict_error", "conflict"),
    errors.IdempotencyInProgressError: Problem(409, "conflict_error", "idempotency_key_in_use"),
    errors.BudgetExceededError: Problem(429, "insufficient_quota", "insufficient_quota"),
    errors.PriceUnknownError: Problem(503, "server_error", "price_unknown"),
    errors.CatalogueError: Problem(503, "server_error", "catalogue_unavailable"),
    errors.ModelFailedError: Problem(502, "server_error", "model_error"),
    errors.CapacityError: Problem(503, "server_error", "no_capacity"),
    errors.BackendThrottledError: Problem(503, "server_error", "backend_throttled"),
    errors.BackendTimeoutError: Problem(504, "server_error", "backend_timeout"),
    errors.NotReadyError: Problem(504, "server_error", "job_not_finished"),
    errors.AnswerTooLargeError: Problem(502, "server_error", "answer_too_large"),
    errors.BackendError: Problem(502, "server_error", "backend_error"),
    # RFC 9111, 5.2.1.7: what `only-if-cached` is answered with.
    errors.NotCachedError: Problem(504, "server_error", "not_cached", asked_for=True),
    errors.CacheDownError: Problem(503, "server_error", "cache_unavailable"),
    errors.StorageError: Problem(503, "server_error", "storage_unavailable"),
    errors.TollgateError: Problem(500, "server_error", "internal_error"),
}

_NOT_AGAIN = {
    errors.TollgateError,
    errors.ConflictError,
    errors.OverLimitError,
    errors.BackendTimeoutError,
    errors.OversizedAnswerError,
    errors.AnswerTooLargeError,
    errors.NotCachedError,
}
"""OpenAI's clients repeat any 409, 429 and 5xx by themselves. Here a retry is useless or pays for the work again."""

_LONGEST_WAIT_SECONDS = 60
"""OpenAI's clients wait no longer than this, whatever `Retry-After` says: they would retry too early."""

RETRY_AFTER_SECONDS = 5
"""Default for a 429 or 503 whose cause gives no better value."""


def problem_of(error: errors.TollgateError) -> Problem:
    """The row of the nearest class; a model that blames the input becomes the caller's 400."""
    if isinstance(error, errors.ModelFailedError) and 400 <= error.original_status < 500:
        return Problem(400, "invalid_request_error", "model_rejected_input")
    return next(_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE)


def error_body(message: str, problem: Problem, param: str | None = None) -> dict[str, Any]:
    """The body of an error answer; all four fields are always there."""
    return {"error": {"message": message, "type": problem.type, "param": param, "code": problem.code}}


def problem_answer(error: errors.TollgateError) -> Answer:
    """The whole answer to a call that failed."""
    problem = problem_of(error)
    wait = retry_after(error, problem)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if type(error) in _NOT_AGAIN or (wait is not None and wait > _LONGEST_WAIT_SECONDS):
        headers["x-should-retry"] = "false"
    return json_answer(problem.status, error_body(error.message, problem, error.param), headers)


def retry_after(error: errors.TollgateError, problem: Problem) -> int | None:
    """Seconds for the ``Retry-After`` header: on every 429 and 503, except for requests that will never fit."""
    if error.retry_after is not None:
        return error.retry_after
    if isinstance(error, errors.OverLimitError):
        return None
    return RETRY_AFTER_SECONDS if problem.status in {429, 503} else None


def admitted[Handler](call: Call, handler: Handler | None, scope: str) -> Handler:
    """The handler of a call whose key may make it.

    Args:
        call: the call.
        handler: of its route; None where there is none.
        scope: that the key must have, or `admin`.

    Raises:
        NotFoundError: no such route.
        ScopeError: the key may not use it.
    """
    if handler is None:
        raise errors.NotFoundError(f"There is no route '{call.route[:100]}'.")
    require_scope(call, scope)
    return handler


def require_scope(call: Call, scope: str) -> None:
    """See that the key of a call has a scope, or `admin`.

    Raises:
        ScopeError: it has neither.
    """
    if not call.owner.scopes & {scope, "admin"}:
        raise errors.ScopeError(f"This API key lacks the scope '{scope}'.")


_PLACES = 8
"""Frames that are logged of an error that should not be."""


def unexpected(error: Exception, telemetry: "Telemetry", request_id: str) -> errors.TollgateError:
    """What the caller is told of a bug. Its kind and place are logged; its message is not, as it may quote a prompt."""
    from traceback import extract_tb  # noqa: PLC0415 -- nobody should have to pay for the import

    frames = extract_tb(error.__traceback__)[-_PLACES:]
    places = [f"{frame.filename.rpartition('tollgate/')[2]}:{frame.lineno}" for frame in frames]
    telemetry.log("ERROR", "unexpected error", request_id=request_id, kind=type(error).__name__, places=places)
    return errors.TollgateError("The gateway failed. What it says of this in its log bears the request's id.")


def answered(call: Call, answer: Callable[[Call], Answer], telemetry: "Telemetry", name: str) -> Answer:
    """The answer to a call; every error becomes one in the error shape. `name` is the log line's message."""
    try:
        given = answer(call)
    except errors.TollgateError as error:
        given = problem_answer(error)
    except Exception as error:  # noqa: BLE001 -- Lambda would log its message, which may quote a prompt
        given = problem_answer(unexpected(error, telemetry, call.request_id))
    telemetry.log(
        "INFO",
        name,
        request_id=call.request_id,
        route=call.route,
        status=given.status,
        tenant=call.owner.tenant,
    )
    identity = {"x-tollgate-request-id": call.request_id, "x-request-id": call.request_id}
    return Answer(given.status, given.body, {**identity, **given.headers})
