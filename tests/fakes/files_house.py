"""The function for files, uploads and batches, with everything around it in memory."""

import base64
import json
from datetime import timedelta
from typing import Any

from functions.files_batches.app import handle
from local.openapi import file_answers
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.files import InMemoryFileBatchStore, InMemoryFileStore
from tests.fakes.gateway import InMemoryIdempotency, proxy_event
from tests.fakes.messages import InMemoryObjectStore, InMemoryQueue
from tests.unit.template_document import ROOT
from tollgate.api.files_routes import FilesApi
from tollgate.api.telemetry import Telemetry
from tollgate.services.batches.file_batches import FileBatches
from tollgate.services.batches.files import Files
from tollgate.services.batches.uploads import Uploads
from tollgate.services.requests.idempotency import Idempotency

SAMPLES = ROOT / "events" / "files_batches"


class FilesHouse:
    """The function with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.objects = InMemoryObjectStore(clock=self.clock)
        self.files = InMemoryFileStore()
        self.batches = InMemoryFileBatchStore()
        self.queue = InMemoryQueue()
        self.idempotency = InMemoryIdempotency()
        telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
        ids = CountingIds()
        files = Files(files=self.files, objects=self.objects, clock=self.clock, ids=ids, kept=timedelta(days=30))
        self.api = FilesApi(
            files=files,
            uploads=Uploads(
                store=self.files,
                files=files,
                objects=self.objects,
                chunked=lambda: self.objects,
                clock=self.clock,
                ids=ids,
            ),
            batches=FileBatches(
                batches=self.batches, files=files, queue=self.queue, telemetry=telemetry, clock=self.clock, ids=ids
            ),
            idempotency=Idempotency(self.idempotency, self.clock),
            telemetry=telemetry,
            random_hex=lambda: "a" * 48,
        )

    def ask(self, route: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and body of a call."""
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = handle(proxy_event(route, text, **options), self.api)
        return answer["statusCode"], json.loads(answer["body"] or "null")

    def sample(self, name: str, **path: str) -> tuple[int, Any]:
        """As `ask`, of a sample event with these path parameters."""
        event = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
        if path:
            event["pathParameters"] = path
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"] or "null")

    def upload(self, content: bytes = b'{"a": 1}\n', *, purpose: str = "batch") -> dict[str, Any]:
        """A file of this content."""
        status, file = self.form({"purpose": purpose}, content)
        assert status == 200, file
        file_answers.File.model_validate(file)
        found: dict[str, Any] = file
        return found

    def part(self, upload_id: str, content: bytes) -> tuple[int, Any]:
        """As `ask`, for a part of an upload."""
        body = (
            b'--x\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n'
            + content
            + b"\r\n--x--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        event = proxy_event("POST /v1/uploads/{id}/parts", headers=headers, path={"id": upload_id})
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"])

    def begin(self, size: int) -> str:
        """The id of an upload of so many bytes."""
        fields = {"filename": "in.jsonl", "purpose": "batch", "bytes": size, "mime_type": "application/jsonl"}
        status, upload = self.ask("POST /v1/uploads", fields)
        assert status == 200, upload
        return str(upload["id"])

    def complete(self, upload_id: str, **body: Any) -> tuple[int, Any]:
        """As `ask`, for the end of an upload."""
        return self.ask("POST /v1/uploads/{id}/complete", {"part_ids": []} | body, path={"id": upload_id})

    def form(self, fields: dict[str, str], content: bytes | None, *, name: str = "in.jsonl") -> tuple[int, Any]:
        """As `ask`, for a file in a form."""
        body = b"".join(
            f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        )
        if content is not None:
            head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            body += head.encode() + content + b"\r\n"
        event = proxy_event("POST /v1/files", headers={"Content-Type": "multipart/form-data; boundary=x"})
        event |= {"body": base64.b64encode(body + b"--x--\r\n").decode(), "isBase64Encoded": True}
        answer = handle(event, self.api)
        return answer["statusCode"], json.loads(answer["body"])
