"""Create, read and cancel a tenant's batches. The work itself is done by functions woken through a queue."""

from collections.abc import Mapping
from copy import replace

from tollgate.domain.errors import ConflictError, InvalidRequestError, NotFoundError, StorageError
from tollgate.domain.jobs.file_batches import (
    CANCELLABLE,
    COMPLETION_WINDOW,
    ENDPOINTS,
    MOST_FILE_BYTES,
    FileBatch,
    FileBatchStatus,
    FilePurpose,
)
from tollgate.domain.jobs.ids import may_be_id
from tollgate.domain.jobs.job import Owner
from tollgate.ports.files import FileBatchStore, Page
from tollgate.ports.idempotency import REMEMBERED
from tollgate.ports.jobs import MessageQueue
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.batches.file_batch_changes import busy
from tollgate.services.batches.files import Files

_WINDOW = "24h"
_ROUNDS = 4


class FileBatches:
    """What the owner of batches may do with them."""

    def __init__(
        self,
        *,
        batches: FileBatchStore,
        files: Files,
        queue: MessageQueue,
        telemetry: Telemetry,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._batches = batches
        self._files = files
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock
        self._ids = ids

    def create(
        self,
        owner: Owner,
        *,
        file_id: str,
        endpoint: str,
        window: str,
        metadata: Mapping[str, str],
        output_seconds: int | None = None,
        once: str = "",
        trace: str = "",
    ) -> FileBatch:
        """Record a batch and have it started.

        Args:
            owner: who asks.
            file_id: its lines.
            endpoint: the one that all lines name.
            window: time within which it should complete.
            metadata: of the caller.
            output_seconds: longest time to keep the results; None for the default.
            once: what the caller's idempotency key makes of its name, see `name_of`; empty without a key.
            trace: the caller's `traceparent`.

        Returns:
            The batch; that of an earlier call if it had the same key and could not keep its answer.

        Raises:
            InvalidRequestError: an unsupported endpoint, window or file.
            NotFoundError: there is no such file.
        """
        if endpoint not in ENDPOINTS:
            raise InvalidRequestError(f"'endpoint' must be one of: {', '.join(ENDPOINTS)}.", param="endpoint")
        if window != _WINDOW:
            raise InvalidRequestError(f"'completion_window' must be '{_WINDOW}'.", param="completion_window")
        try:
            file = self._files.get(owner, file_id)
        except NotFoundError as error:
            raise NotFoundError(error.message, param="input_file_id") from error
        if file.purpose is not FilePurpose.BATCH:
            raise InvalidRequestError("The file was not uploaded with purpose 'batch'.", param="input_file_id")
        if file.size > MOST_FILE_BYTES:
            raise InvalidRequestError(
                f"A batch's file may have at most {MOST_FILE_BYTES} bytes.", param="input_file_id"
            )
        now = self._clock.now()
        batch = FileBatch(
            batch_id=f"batch_{once}" if once else self._ids.new("batch"),
            owner=owner,
            endpoint=endpoint,
            input_file_id=file_id,
            created_at=now,
            expires_at=now + COMPLETION_WINDOW,
            metadata=metadata,
            output_seconds=output_seconds,
            traceparent=trace,
        )
        if not self._batches.add(batch):
            earlier = self._batches.get(batch.batch_id)
            if earlier is not None and now - earlier.created_at <= REMEMBERED:
                return earlier
            batch = replace(batch, batch_id=self._ids.new("batch"))
            self._batches.add(batch)
        self._wake(batch)
        return batch

    def get(self, owner: Owner, batch_id: str) -> FileBatch:
        """A batch.

        Raises:
            NotFoundError: the owner's tenant has no such batch.
        """
        found = self._batches.get(batch_id) if may_be_id(batch_id) else None
        if found is None or found.owner.tenant != owner.tenant:
            raise NotFoundError(f"There is no batch '{batch_id[:100]}'.", param="batch_id")
        return found

    def list(self, owner: Owner, *, limit: int, after: str | None) -> Page[FileBatch]:
        """The tenant's batches, newest first.

        Raises:
            InvalidRequestError: `after` is not a batch in the list.
        """
        return self._batches.list_of(owner, limit=limit, after=after)

    def cancel(self, owner: Owner, batch_id: str) -> FileBatch:
        """Stop a batch; lines answered by then are kept.

        Raises:
            NotFoundError: as `get`.
            ConflictError: it has ended, or is about to.
            StorageError: try again.
        """
        for _ in range(_ROUNDS):
            batch = self.get(owner, batch_id)
            if batch.status in {FileBatchStatus.CANCELLING, FileBatchStatus.CANCELLED}:
                return batch
            if batch.status not in CANCELLABLE:
                raise ConflictError(f"Batch '{batch_id[:100]}' is already {batch.status}.", param="batch_id")
            done = self._batches.change(batch.at(FileBatchStatus.CANCELLING, self._clock.now()))
            if done is not None:
                self._wake(done)
                return done
        raise busy()

    def _wake(self, batch: FileBatch) -> None:
        try:
            self._queue.send(batch_message(batch.batch_id), trace=batch.traceparent, group=batch.owner.tenant)
        except StorageError:
            # The record is the promise; the sweeper wakes every open batch.
            self._telemetry.count("FileBatchQueuedLater")


def batch_message(batch_id: str) -> Mapping[str, str]:
    """The queue message that has a batch advanced."""
    return {"kind": "file_batch", "file_batch": batch_id}
