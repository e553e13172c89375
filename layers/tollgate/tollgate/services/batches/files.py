"""A tenant's files that arrive in one step; see `uploads` for the others."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tollgate.domain.errors import BodyTooLargeError, InvalidRequestError, NotFoundError
from tollgate.domain.jobs.file_batches import FilePurpose, FileState, StoredFile
from tollgate.domain.jobs.ids import may_be_id
from tollgate.domain.jobs.job import Owner
from tollgate.ports.files import FileObjects, FileStore, Page
from tollgate.ports.system import Clock, IdSource

DOWNLOAD_SECONDS = 900
MOST_DIRECT_BYTES = 4_500_000
"""Most content that can pass through a function: 6 MB, a quarter of which is lost to base64.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

MOST_INLINE_BYTES = 1_000_000
"""Most content that a function returns: it travels in JSON, where a character may take six bytes."""

_LONGEST_NAME = 512
_UPLOADABLE = frozenset({FilePurpose.BATCH, FilePurpose.USER_DATA})


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a caller says about a file. `seconds` is the longest time to keep it, None for the default."""

    name: str
    purpose: str
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content, or the URL to fetch it from if it is large or not text. One of the two is set."""

    text: str | None
    url: str | None


class Files:
    """What the owner of files may do with them.

    Args:
        kept: how long files are kept at most, by the bucket's own rule.
    """

    def __init__(self, *, files: FileStore, objects: FileObjects, clock: Clock, ids: IdSource, kept: timedelta) -> None:
        self._files = files
        self._objects = objects
        self._clock = clock
        self._ids = ids
        self._kept = kept

    def create(self, owner: Owner, new: NewFile, content: bytes) -> StoredFile:
        """Store a file.

        Raises:
            InvalidRequestError: an invalid name or purpose, or an empty file.
            BodyTooLargeError: it has to be uploaded in two steps.
        """
        if not content:
            raise InvalidRequestError("The file is empty.", param="file")
        if len(content) > MOST_DIRECT_BYTES:
            raise BodyTooLargeError(
                f"The file has {len(content)} bytes; up to {MOST_DIRECT_BYTES} can be sent with the request. "
                "Create an upload at /v1/uploads, and send the file in parts or PUT it to 'upload_url'."
            )
        file = self.new(owner, new, len(content), FileState.READY)
        self._objects.put(file.key, content, content_type="application/octet-stream")
        self._files.add(file)
        return file

    def get(self, owner: Owner, file_id: str) -> StoredFile:
        """A complete file.

        Raises:
            NotFoundError: the owner's tenant has no such file, or it has expired.
        """
        file = self.known(owner, file_id)
        if file is None or file.upload_id or file.state is not FileState.READY:
            raise NotFoundError(f"There is no file '{file_id[:100]}'.", param="file_id")
        return file

    def content(self, owner: Owner, file_id: str) -> Content:
        """The content of a file. Raises as `get`."""
        file = self.get(owner, file_id)
        if file.size <= MOST_INLINE_BYTES:
            body = self._objects.get(file.key)
            if body is None:
                raise NotFoundError(f"The content of file '{file_id[:100]}' was deleted.", param="file_id")
            try:
                return Content(body.decode(), None)
            except UnicodeDecodeError:
                pass  # Functions return text; anything else comes from the bucket.
        return Content(None, self._objects.presigned_get(file.key, expires_seconds=DOWNLOAD_SECONDS))

    def delete(self, owner: Owner, file_id: str) -> None:
        """Delete a file. Raises as `get`."""
        file = self.get(owner, file_id)
        self._objects.delete(file.key)
        self._files.delete(file.file_id)

    def list(
        self, owner: Owner, *, purpose: FilePurpose | None, limit: int, after: str | None, oldest_first: bool
    ) -> Page[StoredFile]:
        """The tenant's files.

        Raises:
            InvalidRequestError: `after` is not a file in the list.
        """
        page = self._files.list_of(owner, purpose=purpose, limit=limit, after=after, oldest_first=oldest_first)
        now = self._clock.now()
        return Page([file for file in page.entries if file.expires_at > now], page.has_more)

    def known(self, owner: Owner, file_id: str) -> StoredFile | None:
        """A record of the owner's tenant, of any kind and in any state; None if it has expired."""
        found = self._files.get(file_id) if may_be_id(file_id) else None
        if found is None or found.owner.tenant != owner.tenant or self._clock.now() >= found.expires_at:
            return None
        return found

    def new(self, owner: Owner, new: NewFile, size: int, state: FileState) -> StoredFile:
        """The record of a new file, which is not stored yet.

        Raises:
            InvalidRequestError: an invalid name or purpose.
        """
        purpose = next((p for p in _UPLOADABLE if p.value == new.purpose), None)
        if purpose is None:
            known = ", ".join(sorted(p.value for p in _UPLOADABLE))
            raise InvalidRequestError(f"'purpose' must be one of: {known}.", param="purpose")
        if not 0 < len(new.name) <= _LONGEST_NAME:
            raise InvalidRequestError(f"The file's name must have 1 to {_LONGEST_NAME} characters.", param="file")
        now = self._clock.now()
        file_id = self._ids.new("file").replace("_", "-")
        until = self.until(now, new.seconds)
        return StoredFile(file_id, owner, new.name, purpose, size, now, until, state, keep_seconds=new.seconds)

    def until(self, now: datetime, wanted: int | None) -> datetime:
        """When a file created now expires, given the seconds its owner asked for; None for the default."""
        return now + (self._kept if wanted is None else min(self._kept, timedelta(seconds=wanted)))
