"""Everything that can go wrong on purpose, as one tree.

TollgateError
├── InvalidRequestError            the caller can correct the request
│   ├── UnknownModelError
│   ├── UnsupportedParameterError  no deployment of the model understands it
│   ├── BodyTooLargeError
│   ├── DeadlineImpossibleError
│   ├── InputBudgetError           what must be sent does not fit the token budget
│   └── IdempotencyMismatchError
├── AuthenticationError            no key, or an unknown one
├── ScopeError                     a known key without the right scope
├── NotFoundError                  also for another tenant's resources
├── ConflictError                  not possible in the present state
│   ├── BusyError                  another call is at work on it, and will soon finish
│   └── IdempotencyInProgressError
├── BudgetExceededError            a budget has nothing left for it
│   ├── OverLimitError             the request alone exceeds what a budget allows
│   └── SpendStoppedError          the brakes refuse all new work
├── PriceUnknownError              refused rather than served for free
├── CatalogueError                 the catalogue is missing or contradicts itself
│   └── NoCatalogueError           none was applied yet
├── NotReadyError                  the job continues, but the API cannot keep its caller waiting any longer
├── AnswerTooLargeError            the answer is complete and paid for, but too large for the API
├── BackendError                   the backend failed
│   ├── ModelFailedError           the container answered with an error
│   │   └── OversizedAnswerError   its answer is larger than a function can read
│   ├── CapacityError              no instance could take the request
│   ├── BackendThrottledError
│   └── BackendTimeoutError        the outcome is unknown
├── WebhookError                   the call to a client's own URL
│   ├── WebhookRefusedError        it would go where webhooks may not go
│   └── WebhookUnreachableError    no answer
├── TokenizerError                 a model's tokenizer cannot count; never leaves the services
├── LedgerRefusedError             a counter's condition was false; never leaves the services
├── NotCachedError                 only a cached answer was wanted, and there is none
└── StorageError                   a table, queue or bucket failed
    ├── OutcomeUnknownError        the write may or may not have happened
    └── CacheDownError             the cache is down, and enough requests run without it

The HTTP status, type and code of each are in one table, `tollgate.api.problems`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tollgate.domain.budgets.ledger import Counter


class TollgateError(Exception):
    """Base of all errors that Tollgate raises itself.

    Args:
        message: what is wrong and what to do about it; safe to show to the caller.
        param: the request field at fault, if one is.
        retry_after: seconds after which the same call may work, if known.
    """

    def __init__(self, message: str, *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequestError(TollgateError):
    """The request cannot be served as it stands."""


class UnknownModelError(InvalidRequestError):
    """The model is not in the catalogue."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        names = ", ".join(sorted(known)) or "none yet: apply a catalogue first"
        super().__init__(f"Unknown model '{model[:100]}'. Known models: {names}.", param="model")


class UnsupportedParameterError(InvalidRequestError):
    """A parameter that the model's containers do not understand, or that this gateway does not offer."""


class BodyTooLargeError(InvalidRequestError):
    """The body is larger than any road accepts."""


class DeadlineImpossibleError(InvalidRequestError):
    """No road, or not the requested one, is expected to be in time."""


class InputBudgetError(InvalidRequestError):
    """The part of the input that may not be trimmed exceeds the input-token budget.

    Args:
        needed: tokens of what must be sent.
        budget: tokens that may be sent.
        what: names what must be sent, for the message.
    """

    def __init__(self, *, needed: int, budget: int, what: str) -> None:
        super().__init__(
            f"{what} need {needed} input tokens, the budget is {budget}. Raise the budget or keep less.",
            param="messages",
        )
        self.needed = needed
        self.budget = budget


class IdempotencyMismatchError(InvalidRequestError):
    """The same idempotency key came with another payload."""


class AuthenticationError(TollgateError):
    """No API key, or one that is not known."""


class ScopeError(TollgateError):
    """The key is known but lacks the scope for this operation."""


class NotFoundError(TollgateError):
    """There is no such resource, or it belongs to another tenant."""


class ConflictError(TollgateError):
    """The operation does not fit the present state."""


class BusyError(ConflictError):
    """Another call is working on the same resource and will finish soon."""


class IdempotencyInProgressError(ConflictError):
    """A request with the same idempotency key is still running."""


class BudgetExceededError(TollgateError):
    """A budget that counts the request has nothing left for it; nothing was run."""


class OverLimitError(BudgetExceededError):
    """The request alone exceeds what a budget allows: it will not fit later either."""


class SpendStoppedError(BudgetExceededError):
    """The spend brakes refuse new work until a person or the next period resumes."""


class PriceUnknownError(TollgateError):
    """A deployment has no known price, so its requests are refused."""


class CatalogueError(TollgateError):
    """The catalogue is missing or contradicts itself."""


class NoCatalogueError(CatalogueError):
    """No catalogue was applied yet: the stack is new. Scheduled functions then have nothing to do."""


class NotReadyError(TollgateError):
    """A caller waited for a job as long as the API allows; the job continues and can be looked up."""


class AnswerTooLargeError(TollgateError):
    """The model's answer is larger than what a function may return."""


class BackendError(TollgateError):
    """The backend failed.

    Attributes:
        answer_begun: the caller has seen part of the answer, so no other answer can replace it.
    """

    answer_begun = False


class ModelFailedError(BackendError):
    """The model container answered with an error.

    Args:
        message: what the container said, shortened.
        original_status: the container's HTTP status; 400..499 means that the input is at fault.
    """

    def __init__(self, message: str, *, original_status: int) -> None:
        super().__init__(message)
        self.original_status = original_status


class OversizedAnswerError(ModelFailedError):
    """The container's answer is larger than a function can read, and would be again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, original_status=502)


class CapacityError(BackendError):
    """No instance could take the request: asleep, starting or full."""


class BackendThrottledError(BackendError):
    """SageMaker refused the call for its rate."""


class BackendTimeoutError(BackendError):
    """No answer in time; whether the model ran is unknown."""


class WebhookError(TollgateError):
    """The call to a client's own URL went wrong."""


class WebhookRefusedError(WebhookError):
    """The URL leads to an address that webhooks may not reach."""


class WebhookUnreachableError(WebhookError):
    """The receiver did not answer: unknown name, no connection, no trust, no time, or not HTTP."""


class TokenizerError(TollgateError):
    """The model's own tokenizer cannot count a text."""


class LedgerRefusedError(TollgateError):
    """Conditions on counters were false, so nothing was written.

    Args:
        refused: the counters as they stood, by the position of their write.
    """

    def __init__(self, refused: "Mapping[int, Counter]") -> None:
        super().__init__("The ledger refused the write.")
        self.refused = refused


class StorageError(TollgateError):
    """A table, queue or bucket failed."""


class NotCachedError(TollgateError):
    """The request may only be answered from the cache, which has no suitable answer."""


class CacheDownError(StorageError):
    """The cache cannot be read, and no more requests may run without it."""


class OutcomeUnknownError(StorageError):
    """The write may or may not have happened."""
