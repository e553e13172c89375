"""OpenAI's routes over files, uploads and batches."""

from collections.abc import Callable, Mapping
from typing import Any

from tollgate.api.http import Answer, Call, json_answer, json_body
from tollgate.api.multipart import read_form, without_boundary
from tollgate.api.openai.file_bodies import COMPLETE_UPLOAD, CREATE_BATCH, CREATE_UPLOAD, expiry_seconds
from tollgate.api.openai.file_objects import (
    batch_document,
    file_document,
    list_document,
    part_document,
    upload_document,
)
from tollgate.api.problems import admitted, answered
from tollgate.api.telemetry import Telemetry
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.file_batches import FilePurpose
from tollgate.domain.trace import continue_trace
from tollgate.ports.idempotency import StoredAnswer
from tollgate.services.batches.file_batches import FileBatches
from tollgate.services.batches.files import Files, NewFile
from tollgate.services.batches.uploads import Uploads
from tollgate.services.requests.idempotency import Idempotency, fingerprint_of, name_of

_MOST_FILES = 10_000
_MOST_BATCHES = 100
_INFER, _READ, _CANCEL = "infer", "read", "cancel"

Handler = Callable[[Call], Answer]


class FilesApi:
    """Turns calls about files and batches into answers."""

    def __init__(
        self,
        *,
        files: Files,
        uploads: Uploads,
        batches: FileBatches,
        idempotency: Idempotency,
        telemetry: Telemetry,
        random_hex: Callable[[], str],
    ) -> None:
        self._files = files
        self._uploads = uploads
        self._batches = batches
        self._idempotency = idempotency
        self._telemetry = telemetry
        self._random_hex = random_hex
        self._routes: Mapping[str, tuple[str, Handler]] = {
            "POST /v1/files": (_INFER, self._create_file),
            "GET /v1/files": (_READ, self._list_files),
            "GET /v1/files/{id}": (_READ, self._get_file),
            "DELETE /v1/files/{id}": (_INFER, self._delete_file),
            "GET /v1/files/{id}/content": (_READ, self._content),
            "POST /v1/uploads": (_INFER, self._begin_upload),
            "POST /v1/uploads/{id}/parts": (_INFER, self._add_part),
            "POST /v1/uploads/{id}/complete": (_INFER, self._complete_upload),
            "POST /v1/uploads/{id}/cancel": (_INFER, self._cancel_upload),
            "POST /v1/batches": (_INFER, self._create_batch),
            "GET /v1/batches": (_READ, self._list_batches),
            "GET /v1/batches/{id}": (_READ, self._get_batch),
            "POST /v1/batches/{id}/cancel": (_CANCEL, self._cancel_batch),
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call; every `TollgateError` becomes one in the error shape."""
        return answered(call, self._admitted, self._telemetry, "files_call")

    def _admitted(self, call: Call) -> Answer:
        scope, handler = self._routes.get(call.route, ("", None))
        return self._once(call, admitted(call, handler, scope))

    def _once(self, call: Call, handler: Handler) -> Answer:
        """With an idempotency key, what is made is made once."""
        key = call.headers.get("idempotency-key")
        if key is None or not call.route.startswith("POST"):
            return handler(call)

        def fresh() -> StoredAnswer:
            answer = handler(call)
            return StoredAnswer(answer.status, answer.headers, answer.body)

        stored = self._idempotency.run(call.owner, key, _fingerprint(call), fresh)
        return Answer(stored.status, stored.body, stored.headers)

    def _create_file(self, call: Call) -> Answer:
        form = read_form(call.headers.get("content-type", ""), call.body)
        file = form.get("file")
        if file is None or file.filename is None:
            raise InvalidRequestError("The form has no field 'file' with a file.", param="file")
        purpose = form.get("purpose")
        if purpose is None:
            raise InvalidRequestError("The form has no field 'purpose'.", param="purpose")
        expiry = [form.get(f"expires_after[{name}]") for name in ("seconds", "anchor")]
        seconds = expiry_seconds(*[None if part is None else part.text for part in expiry])
        new = NewFile(file.filename, purpose.text, seconds)
        return json_answer(200, file_document(self._files.create(call.owner, new, file.content)))

    def _list_files(self, call: Call) -> Answer:
        purpose = call.query.get("purpose")
        known = next((p for p in FilePurpose if p.value == purpose), None)
        if purpose is not None and known is None:
            return json_answer(200, list_document([], has_more=False))
        order = call.query.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise InvalidRequestError("'order' must be asc or desc.", param="order")
        page = self._files.list(
            call.owner,
            purpose=known,
            limit=_limit(call, most=_MOST_FILES, usual=_MOST_FILES),
            after=call.query.get("after"),
            oldest_first=order == "asc",
        )
        return json_answer(200, list_document([file_document(f) for f in page.entries], has_more=page.has_more))

    def _get_file(self, call: Call) -> Answer:
        return json_answer(200, file_document(self._files.get(call.owner, _id(call))))

    def _delete_file(self, call: Call) -> Answer:
        self._files.delete(call.owner, _id(call))
        return json_answer(200, {"id": _id(call), "object": "file", "deleted": True})

    def _content(self, call: Call) -> Answer:
        content = self._files.content(call.owner, _id(call))
        if content.url is not None:
            # Clients follow it by themselves, and leave their key behind on the way to another host.
            return Answer(302, "", {"Location": content.url, "Content-Type": "application/octet-stream"})
        return Answer(200, content.text or "", {"Content-Type": "application/octet-stream"})

    def _begin_upload(self, call: Call) -> Answer:
        body = CREATE_UPLOAD.read(json_body(call))
        after = body.get("expires_after")
        new = NewFile(body["filename"], body["purpose"], None if after is None else after["seconds"])
        upload, url = self._uploads.begin(call.owner, new, body["bytes"])
        return json_answer(200, upload_document(upload, url=url))

    def _add_part(self, call: Call) -> Answer:
        data = read_form(call.headers.get("content-type", ""), call.body).get("data")
        if data is None:
            raise InvalidRequestError("The form has no field 'data'.", param="data")
        return json_answer(200, part_document(self._uploads.add_part(call.owner, _id(call), data.content)))

    def _complete_upload(self, call: Call) -> Answer:
        body = COMPLETE_UPLOAD.read(json_body(call))
        upload, file = self._uploads.complete(call.owner, _id(call), body["part_ids"], body.get("md5"))
        return json_answer(200, upload_document(upload, file=file))

    def _cancel_upload(self, call: Call) -> Answer:
        return json_answer(200, upload_document(self._uploads.cancel(call.owner, _id(call))))

    def _create_batch(self, call: Call) -> Answer:
        key = call.headers.get("idempotency-key")
        body = CREATE_BATCH.read(json_body(call))
        after = body.get("output_expires_after")
        batch = self._batches.create(
            call.owner,
            file_id=body["input_file_id"],
            endpoint=body["endpoint"],
            window=body["completion_window"],
            metadata=body.get("metadata") or {},
            output_seconds=None if after is None else after["seconds"],
            once="" if key is None else name_of(call.owner, key, _fingerprint(call)),
            trace=continue_trace(
                call.headers.get("traceparent"), call.headers.get("x-amzn-trace-id"), random_hex=self._random_hex()
            ),
        )
        return json_answer(200, batch_document(batch))

    def _list_batches(self, call: Call) -> Answer:
        page = self._batches.list(
            call.owner, limit=_limit(call, most=_MOST_BATCHES, usual=20), after=call.query.get("after")
        )
        return json_answer(200, list_document([batch_document(b) for b in page.entries], has_more=page.has_more))

    def _get_batch(self, call: Call) -> Answer:
        return json_answer(200, batch_document(self._batches.get(call.owner, _id(call))))

    def _cancel_batch(self, call: Call) -> Answer:
        return json_answer(200, batch_document(self._batches.cancel(call.owner, _id(call))))


def _id(call: Call) -> str:
    return call.path_parameters.get("id", "")


def _limit(call: Call, *, most: int, usual: int) -> int:
    text: Any = call.query.get("limit")
    if text is None:
        return usual
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= most:
        raise InvalidRequestError(f"'limit' must be a whole number from 1 to {most}.", param="limit")
    return int(text)


def _fingerprint(call: Call) -> str:
    """What a repetition has in common with the first call.

    The path is part of it: cancelling another batch is another request.
    """
    body = without_boundary(call.headers.get("content-type", ""), call.body)
    return fingerprint_of(f"{call.route} {call.path_parameters.get('id', '')}", body)
