"""The one place where failures of tables, queues and the bucket become the domain's storage errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from tollgate.adapters.aws_errors import AwsError
from tollgate.domain.errors import OutcomeUnknownError, StorageError


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Raise a storage error for an AWS one.

    Args:
        what: says what was tried, in words that a caller may see.

    Raises:
        OutcomeUnknownError: the call may have been carried out.
        StorageError: it was not.
    """
    try:
        yield
    except AwsError as error:
        if error.outcome_unknown:
            raise OutcomeUnknownError(f"No answer while {what}: it may or may not have happened.") from error
        raise StorageError(f"Failed while {what}: {error.code}.") from error
