"""One input object of a transform job, from S3 through the model back to S3, in bounded memory."""

import asyncio
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import IO

from local.sagemaker.aws import Aws, Location
from local.sagemaker.counting import counted
from local.sagemaker.faults import Faults
from local.sagemaker.models.base import Answer, Call, Container, ContainerError
from local.sagemaker.records import MEGABYTE, BadRecordError, Processing, payloads, split_lines, whole_object
from local.sagemaker.store import Store
from local.sagemaker.wire import Json, ServiceError

_READ_BYTES = 256 * 1024
_DEFAULT_LIMIT_SECONDS = 600
_DEFAULT_RETRIES = 3


class ObjectTransform:
    """Transforms objects the way one job asks.

    At most `MaxConcurrentTransforms` payloads for each instance are in memory at once; answers are written in
    the order of their records to a file, which is uploaded when all of them are there.

    Args:
        job: the job's description.
        container: its model.
        aws: S3.
        store: where inferences are counted, under the job's name.
        faults: failures to inject (`transform_record`).
    """

    def __init__(self, job: Json, container: Container, aws: Aws, store: Store, faults: Faults) -> None:
        self._name: str = job["TransformJobName"]
        self._container = container
        self._aws = aws
        self._store = store
        self._faults = faults
        self._processing = Processing.read(job.get("DataProcessing", {}))
        self._content_type: str = job["TransformInput"].get("ContentType") or "application/json"
        self._accept: str = job["TransformOutput"].get("Accept") or ""
        self._split = job["TransformInput"].get("SplitType", "None") == "Line"
        self._multi = job.get("BatchStrategy", "MultiRecord") == "MultiRecord" and self._split
        self._lines = job["TransformOutput"].get("AssembleWith", "None") == "Line"
        self._payload_bytes = int(job.get("MaxPayloadInMB", 6)) * MEGABYTE
        width = job.get("MaxConcurrentTransforms") or 1
        self._width: int = width * job["TransformResources"]["InstanceCount"]
        client = job.get("ModelClientConfig") or {}
        self._limit_seconds: float = client.get("InvocationsTimeoutInSeconds", _DEFAULT_LIMIT_SECONDS)
        self._retries: int = client.get("InvocationsMaxRetries", _DEFAULT_RETRIES)

    async def run(self, source: Location, output: Location) -> None:
        """Transform one object.

        Raises:
            BadRecordError: a record failed; no output was written.
        """
        pending: deque[asyncio.Task[list[bytes]]] = deque()
        batches = self._payloads(source)
        try:
            with tempfile.TemporaryFile() as file:
                while (batch := await asyncio.to_thread(_next, batches)) is not None:
                    if len(pending) >= self._width:
                        await self._store_answer(file, pending)
                    pending.append(asyncio.get_running_loop().create_task(self._answer(batch)))
                while pending:
                    await self._store_answer(file, pending)
                file.seek(0)
                await asyncio.to_thread(self._aws.upload, output, file)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _payloads(self, source: Location) -> Iterator[list[bytes]]:
        chunks = self._aws.chunks(source, _READ_BYTES)
        records = split_lines(chunks, self._payload_bytes) if self._split else whole_object(chunks, self._payload_bytes)
        return payloads(records, multi=self._multi, limit_bytes=self._payload_bytes)

    async def _store_answer(self, file: IO[bytes], pending: deque[asyncio.Task[list[bytes]]]) -> None:
        for piece in await pending.popleft():
            file.write(piece)
            if self._lines and not piece.endswith(b"\n"):
                file.write(b"\n")

    async def _answer(self, batch: list[bytes]) -> list[bytes]:
        body = b"\n".join(self._processing.before(record) for record in batch)
        answer = await self._invoke(Call(body, self._content_type, self._accept))
        lines = "lines" in answer.content_type or "ndjson" in answer.content_type
        return self._processing.after(batch, answer.body, lines=lines)

    async def _invoke(self, call: Call) -> Answer:
        attempt = 0
        while True:
            try:
                return await self._invoke_once(call)
            except ContainerError as error:
                if error.status < 500 or attempt >= self._retries:
                    raise BadRecordError(f"the model answered {error.status}: {error.message}") from error
            except TimeoutError as error:
                if attempt >= self._retries:
                    raise BadRecordError("the model did not answer in time") from error
            attempt += 1

    async def _invoke_once(self, call: Call) -> Answer:
        try:
            await self._faults.strike("transform_record", self._name)
        except ServiceError as error:
            raise ContainerError(error.status, error.message) from error
        with counted(self._store, f"transform/{self._name}", "transform", "batch", self._name, cut="timeout"):
            async with asyncio.timeout(self._limit_seconds):
                return await self._container.invoke(call)


def _next(batches: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(batches, None)
