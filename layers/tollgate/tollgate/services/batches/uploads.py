"""Files that arrive in more than one step: PUT straight into the bucket, or in parts through the API.

Either way they are read once more when the upload is completed, in constant memory, into the file's own place: the URL
and the parts remain in the caller's hands until they expire, and a file in use must not change. One call at a time
completes an upload. The names of parts include the upload's own, so only the upload needs a record.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta

from tollgate.domain.errors import (
    BodyTooLargeError,
    BusyError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TollgateError,
)
from tollgate.domain.jobs.file_batches import MOST_FILE_BYTES, FileState, StoredFile, uploads_of
from tollgate.domain.jobs.job import Owner
from tollgate.ports.files import ChunkedObjects, FileObjects, FileStore
from tollgate.ports.system import Clock, IdSource
from tollgate.services.batches.files import MOST_DIRECT_BYTES, Files, NewFile

UPLOAD_WINDOW = timedelta(hours=1)
"""OpenAI's time limit between the beginning of an upload and its end."""

MOST_PARTS = 200
"""In one file: each is an object that is read when the upload is completed, while the caller waits."""

_SENT_AGAIN = 4
"""How often a part may be sent: OpenAI's clients try three times, and which attempts arrived is unknown."""

_CLAIM = timedelta(seconds=35)
"""A little longer than the function may run, so that the claim outlasts its holder."""

_PART_ID = re.compile(r"part_[0-9A-Za-z_]{1,58}")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part of an upload that is in the bucket."""

    part_id: str
    upload_id: str
    created_at: datetime


class Uploads:
    """What the owner of uploads may do with them.

    `chunked` gives the store that joins parts when the first upload needs it.
    """

    def __init__(
        self,
        *,
        store: FileStore,
        files: Files,
        objects: FileObjects,
        chunked: Callable[[], ChunkedObjects],
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._store = store
        self._files = files
        self._objects = objects
        self._chunked = chunked
        self._clock = clock
        self._ids = ids

    def begin(self, owner: Owner, new: NewFile, size: int) -> tuple[StoredFile, str]:
        """Create a file that will arrive in further steps, and the URL to which it can be PUT as a whole.

        Raises:
            InvalidRequestError: an invalid name or purpose.
            BodyTooLargeError: the announced size is above the limit.
        """
        if size > MOST_FILE_BYTES:
            raise BodyTooLargeError(f"A file may have at most {MOST_FILE_BYTES} bytes.", param="bytes")
        file = self._files.new(owner, new, size, FileState.PENDING)
        upload = self._ids.new("upload")
        pending = replace(file, file_id=upload, upload_id=file.file_id, expires_at=self._clock.now() + UPLOAD_WINDOW)
        self._store.add(pending)
        lasts = int(UPLOAD_WINDOW.total_seconds())
        return pending, self._objects.presigned_put(pending.key, size=size, expires_seconds=lasts)

    def get(self, owner: Owner, upload_id: str) -> StoredFile:
        """An upload in any state.

        Raises:
            NotFoundError: the owner's tenant has no such upload, or it has expired.
        """
        found = self._files.known(owner, upload_id)
        if found is None or not found.upload_id:
            raise NotFoundError(f"There is no upload '{upload_id[:100]}'.", param="upload_id")
        return found

    def add_part(self, owner: Owner, upload_id: str, content: bytes) -> UploadPart:
        """Store a part. A part sent twice is stored twice, and only the one named on completion is used.

        Raises:
            NotFoundError: as `get`.
            ConflictError: the upload is complete or cancelled.
            BusyError: another call is completing it.
            InvalidRequestError: an empty part.
            BodyTooLargeError: too large for the API or for the announced file, or one part too many.
        """
        upload = self.get(owner, upload_id)
        if upload.state is not FileState.PENDING:
            raise ConflictError(f"Upload '{upload_id[:100]}' is {_WORDS[upload.state]}; it takes no more parts.")
        self._not_claimed(upload)
        if not content:
            raise InvalidRequestError("The part is empty.", param="data")
        if len(content) > min(MOST_DIRECT_BYTES, upload.size):
            raise BodyTooLargeError(
                f"The part has {len(content)} bytes; a part of this upload may have "
                f"{min(MOST_DIRECT_BYTES, upload.size)}. Set 'part_size' accordingly.",
                param="data",
            )
        most_bytes = _SENT_AGAIN * upload.size
        if not self._store.count_part(upload, len(content), most=_SENT_AGAIN * MOST_PARTS, most_bytes=most_bytes):
            if self.get(owner, upload_id) != upload:
                raise self._changed(upload)
            raise BodyTooLargeError(
                f"An upload takes {_SENT_AGAIN * MOST_PARTS} parts and, for one of {upload.size} bytes, {most_bytes} "
                "bytes, counting parts sent again. Create another upload.",
                param="data",
            )
        part_id = self._ids.new("part")
        self._objects.put(_place(upload, part_id), content, content_type="application/octet-stream")
        return UploadPart(part_id, upload.file_id, self._clock.now())

    def complete(
        self, owner: Owner, upload_id: str, part_ids: Sequence[str] = (), md5: str | None = None
    ) -> tuple[StoredFile, StoredFile]:
        """Complete an upload, giving it and its file. Repeating it gives the same.

        Args:
            owner: who asks.
            upload_id: the upload.
            part_ids: in their order; none if the file was PUT to the upload's URL.
            md5: of the whole file, 32 hexadecimal digits; None to skip the comparison.

        Raises:
            NotFoundError: as `get`.
            ConflictError: it was cancelled, nothing has arrived, or its content changed meanwhile.
            BusyError: another call is completing it.
            InvalidRequestError: a part that is not there, or content other than the bytes announced.
        """
        upload = self.get(owner, upload_id)
        if upload.state is FileState.CANCELLED:
            raise ConflictError(f"Upload '{upload_id[:100]}' was cancelled.")
        done = replace(upload, state=FileState.READY, claimed_until=None)
        there = self._store.get(upload.upload_id)
        if there is not None:
            self._store.change(done, upload)
            return done, there
        if upload.state is FileState.READY:
            raise ConflictError(f"Upload '{upload_id[:100]}' was completed, and its file deleted.")
        sources = [upload.key] if not part_ids else _places(upload, part_ids)
        checksum = _checksum(md5)
        claimed = self._claimed(upload)
        file = replace(
            upload,
            file_id=upload.upload_id,
            upload_id="",
            state=FileState.READY,
            claimed_until=None,
            expires_at=self._files.until(upload.created_at, upload.keep_seconds),
        )
        try:
            if part_ids or md5 is not None:
                self._chunked().put_chunks(file.key, self._checked(upload, sources, checksum))
            else:
                self._copy(upload, file)
        except TollgateError:
            # The caller can correct the problem and complete it again at once.
            self._store.change(upload, claimed)
            raise
        self._store.add(file)
        # The file's record is what counts: without this change, the next call finds it and catches up.
        self._store.change(done, claimed)
        for source in sources:
            self._objects.delete(source)
        return done, file

    def cancel(self, owner: Owner, upload_id: str) -> StoredFile:
        """Cancel an upload. The bucket's own rule deletes its parts within a day.

        Raises:
            NotFoundError: as `get`.
            ConflictError: it is complete.
            BusyError: another call is completing it.
        """
        upload = self.get(owner, upload_id)
        if upload.state is FileState.CANCELLED:
            return upload
        if upload.state is FileState.READY or self._store.get(upload.upload_id) is not None:
            raise ConflictError(f"Upload '{upload_id[:100]}' is already complete.")
        self._not_claimed(upload)
        cancelled = replace(upload, state=FileState.CANCELLED, claimed_until=None)
        if not self._store.change(cancelled, upload):
            raise self._changed(upload)
        self._objects.delete(upload.key)
        return cancelled

    def _claimed(self, upload: StoredFile) -> StoredFile:
        """Claim the right to complete the upload now: two calls would overwrite each other's file.

        Raises:
            BusyError: another call holds it.
        """
        self._not_claimed(upload)
        claimed = replace(upload, claimed_until=self._clock.now() + _CLAIM)
        if not self._store.change(claimed, upload):
            raise self._changed(upload)
        return claimed

    def _not_claimed(self, upload: StoredFile) -> None:
        if upload.claimed_until is not None and upload.claimed_until > self._clock.now():
            wait = upload.claimed_until - self._clock.now()
            raise BusyError(
                f"Upload '{upload.file_id}' is being completed by another call.",
                retry_after=max(1, math.ceil(wait.total_seconds())),
            )

    @staticmethod
    def _changed(upload: StoredFile) -> BusyError:
        return BusyError(f"Upload '{upload.file_id}' was completed or cancelled at the same moment.", retry_after=1)

    def _copy(self, upload: StoredFile, file: StoredFile) -> None:
        """Have the bucket copy the PUT object, without reading it."""
        size = self._objects.size_of(upload.key)
        if size is None:
            raise ConflictError(_NOTHING_THERE)
        if size != upload.size:
            raise _wrong_size(size, upload)
        self._objects.copy(upload.key, file.key)
        if self._objects.size_of(file.key) != upload.size:
            raise ConflictError("The upload changed while it was completed. Complete it again.")

    def _checked(self, upload: StoredFile, sources: Sequence[str], md5: str | None) -> Iterator[bytes]:
        """The contents in order; the last chunk is yielded only once all of them are known to be right."""
        digest = hashlib.md5(usedforsecurity=False)
        size, held = 0, b""
        for source in sources:
            chunks = self._chunked().chunks(source)
            if chunks is None:
                if source == upload.key:
                    raise ConflictError(_NOTHING_THERE)
                raise InvalidRequestError(f"Part '{source.rpartition('/')[2]}' is not there.", param="part_ids")
            for chunk in chunks:
                if held:
                    yield held
                held = chunk
                size += len(chunk)
                digest.update(chunk)
                if size > upload.size:
                    raise InvalidRequestError(f"More than the announced {upload.size} bytes arrived.", param="bytes")
        if size != upload.size:
            raise _wrong_size(size, upload)
        if md5 is not None and digest.hexdigest() != md5:
            raise InvalidRequestError(f"The uploaded bytes have the MD5 {digest.hexdigest()}.", param="md5")
        yield held


_NOTHING_THERE = "Nothing was uploaded yet. PUT the file to 'upload_url', or name its parts under 'part_ids'."
_WORDS = {FileState.READY: "complete", FileState.CANCELLED: "cancelled"}


def _place(upload: StoredFile, part_id: str) -> str:
    return uploads_of(upload.file_id) + part_id


def _places(upload: StoredFile, part_ids: Sequence[str]) -> list[str]:
    if len(part_ids) > MOST_PARTS:
        raise InvalidRequestError(f"An upload may have {MOST_PARTS} parts.", param="part_ids")
    if len(set(part_ids)) < len(part_ids):
        raise InvalidRequestError("A part is named twice.", param="part_ids")
    for position, part_id in enumerate(part_ids):
        if not _PART_ID.fullmatch(part_id):
            raise InvalidRequestError("This is not the id of a part.", param=f"part_ids[{position}]")
    return [_place(upload, part_id) for part_id in part_ids]


def _checksum(md5: str | None) -> str | None:
    if md5 is not None and not _MD5.fullmatch(md5):
        raise InvalidRequestError("'md5' must be 32 hexadecimal digits.", param="md5")
    return None if md5 is None else md5.lower()


def _wrong_size(size: int, upload: StoredFile) -> InvalidRequestError:
    return InvalidRequestError(f"{size} bytes were uploaded, {upload.size} were announced.", param="bytes")
