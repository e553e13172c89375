"""SageMaker's control plane through boto3: its client, and its errors in the words of the domain."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tollgate.domain.errors import BackendError, BackendThrottledError, CapacityError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

ABSENT = frozenset({"ResourceNotFound", "ValidationException"})
"""Codes of what does not exist."""

BUSY = frozenset({"ConflictException", "ResourceInUse", "ConcurrentUpdateException"})
"""Codes of what is being changed, or is there already."""

_THROTTLES = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
_FULL = frozenset({"ResourceLimitExceeded"})
_WAIT_SECONDS = 60


def boto_client(service: str) -> Any:
    """The boto3 client of a service."""
    import boto3  # noqa: PLC0415 -- slow to import; only invocations that call the control plane pay for it
    from botocore.config import Config  # noqa: PLC0415 -- as above

    config = Config(
        connect_timeout=2, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 4}, tcp_keepalive=True
    )
    clients: Any = boto3.session.Session()
    return clients.client(service, config=config)


@contextmanager
def control_errors(what: str, *, later: frozenset[str] = frozenset(), fine: str = "") -> Iterator[None]:
    """Turn failures of the control plane into `BackendError`.

    Args:
        what: was looked at or changed, shown to callers.
        later: codes of what may go better in a minute, beside those that always may.
        fine: the code of an error that is none.

    Raises:
        BackendThrottledError, CapacityError: try again later.
        BackendError: it was refused.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- see `boto_client`

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != fine:
            raise _control_error(what, error, later | _FULL) from error
    except BotoCoreError as error:
        raise CapacityError(f"SageMaker could not be reached about {what}.", retry_after=_WAIT_SECONDS) from error


def _control_error(what: str, error: "ClientError", later: frozenset[str]) -> BackendError:
    code = error.response["Error"]["Code"]
    if code in _THROTTLES:
        return BackendThrottledError(f"SageMaker throttles calls about {what}.", retry_after=_WAIT_SECONDS)
    if code in later or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return CapacityError(f"SageMaker can do nothing about {what} now ({code}).", retry_after=_WAIT_SECONDS)
    return BackendError(f"SageMaker refused a call about {what} ({code}).")
