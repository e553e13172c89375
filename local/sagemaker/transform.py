"""Batch transform jobs: their life, from CreateTransformJob to the event that ends them."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator

from local.sagemaker.aws import FAILED, Aws, Location, is_transient
from local.sagemaker.bus import TRANSFORM_CHANGE, EventBus
from local.sagemaker.faults import Faults
from local.sagemaker.jsonpath import PathSyntaxError
from local.sagemaker.models import container_for
from local.sagemaker.notices import transform_detail
from local.sagemaker.records import BadRecordError, Processing, output_name
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.transform_object import ObjectTransform
from local.sagemaker.wire import Json, ServiceError, validation_exception

_log = logging.getLogger(__name__)
_EVENT_RETRY_SECONDS = 1.0
_S3_RETRY_SECONDS = 1.0


class Transforms:
    """Every transform job.

    Args:
        store: where jobs are kept.
        settings: names and start-up times.
        aws: S3.
        bus: where state changes are told.
        faults: failures to inject (`start`, `transform_record`, `eventbridge`).
    """

    def __init__(self, *, store: Store, settings: Settings, aws: Aws, bus: EventBus, faults: Faults) -> None:
        self._store = store
        self._settings = settings
        self._aws = aws
        self._bus = bus
        self._faults = faults
        self._running: dict[str, asyncio.Task[None]] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """After a restart: tell what was not told, and run on, leaving out objects that are done."""
        for name, job in self._store.every("transform").items():
            if job["untold"]:
                self._spawn_telling(name)
            if job["TransformJobStatus"] == "InProgress":
                self._start(name)
            elif job["TransformJobStatus"] == "Stopping":
                self._end(name, "Stopped")

    def close(self) -> None:
        """Stop all work; `resume` takes it up again."""
        for task in (*self._running.values(), *self._telling.values()):
            task.cancel()

    def create(self, request: Json) -> str:
        """Begin a job and return its ARN.

        Raises:
            ServiceError: the name is taken (ResourceInUse), or the request cannot work.
        """
        name = request["TransformJobName"]
        arn = self._settings.arn("transform-job", name)
        if self._store.get("transform", name):
            message = "Job name must be unique within an AWS account and region, and a job with this name exists"
            raise ServiceError(400, "ResourceInUse", f"{message} ({arn})")
        if self._store.get("model", request["ModelName"]) is None:
            model = self._settings.arn("model", request["ModelName"])
            raise validation_exception(f"Could not find model {model!r}.")
        _check(request)
        now = time.time()
        job = {key: value for key, value in request.items() if key != "Tags"} | {
            "TransformJobArn": arn,
            "TransformJobStatus": "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
            "done": [],
            "failures": [],
            "untold": [],
        }
        self._store.put("transform", name, job)
        self._change(name, "InProgress")
        self._start(name)
        return arn

    def stop(self, name: str) -> None:
        """Stop a job that is running; one that has ended is left alone."""
        job = self._get(name)
        if job["TransformJobStatus"] != "InProgress":
            return
        self._change(name, "Stopping")
        task = self._running.get(name)
        if task:
            task.cancel()
        asyncio.get_running_loop().call_soon(self._end, name, "Stopped")

    def describe(self, name: str) -> Json:
        """Return DescribeTransformJob's answer."""
        hidden = ("done", "failures", "untold", "LastModifiedTime")
        return {key: value for key, value in self._get(name).items() if key not in hidden}

    def every(self) -> dict[str, Json]:
        """Return all jobs by name."""
        return self._store.every("transform")

    def _get(self, name: str) -> Json:
        job = self._store.get("transform", name)
        if job is None:
            arn = self._settings.arn("transform-job", name)
            raise ServiceError(400, "ResourceNotFound", f"Requested resource not found: {arn}")
        return job

    def _start(self, name: str) -> None:
        self._running[name] = asyncio.get_running_loop().create_task(self._run(name))

    async def _run(self, name: str) -> None:
        try:
            reason = await self._work(name)
        except Exception as error:  # noqa: BLE001 - whatever breaks, a job must end, and say why
            _log.exception("transform job %s broke", name)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
        self._running.pop(name, None)
        self._end(name, "Failed" if reason else "Completed", reason)

    def _end(self, name: str, status: str, reason: str | None = None) -> None:
        self._running.pop(name, None)
        if self._store.get("transform", name):
            self._change(name, status, {"FailureReason": reason} if reason else {}, ended=True)

    async def _work(self, name: str) -> str | None:
        """Process every object; return why the job failed, or None."""
        job = self._get(name)
        instance_type = job["TransformResources"]["InstanceType"]
        await asyncio.sleep(self._settings.start_time(name, instance_type))
        slow = self._faults.take("start", name, "latency")
        if slow:
            await asyncio.sleep(slow.seconds)
        fault = self._faults.take("start", name, "capacity", "error")
        if fault:
            missing = "CapacityError: Unable to provision requested ML compute capacity. Please retry later."
            return missing if fault.kind == "capacity" else fault.message
        model = self._store.get("model", job["ModelName"]) or {}
        image = (model.get("PrimaryContainer") or {}).get("Image", "")
        container = container_for(image)
        if container is None:
            return f"ClientError: The image '{image}' does not exist."
        if "TransformStartTime" not in job:
            job = self._patch(name, {"TransformStartTime": time.time()})
        transform = ObjectTransform(job, container, self._aws, self._store, self._faults)
        found = 0
        inputs = self._inputs(job)
        while (entry := await asyncio.to_thread(next, inputs, None)) is not None:
            found += 1
            place, output = entry
            if place.uri in job["done"]:
                continue
            problem = await self._one(transform, place, output)
            job = self._get(name)
            failures = [*job["failures"], f"{place.uri}: {problem}"] if problem else job["failures"]
            job = self._patch(name, {"done": [*job["done"], place.uri], "failures": failures})
        if not found:
            uri = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
            return f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source.'
        failed: list[str] = job["failures"]
        if failed:
            text = f"ClientError: {len(failed)} of {found} input objects failed: {'; '.join(failed)}"
            return text[:1024]  # FailureReason's own limit
        return None

    async def _one(self, transform: ObjectTransform, place: Location, output: Location) -> str | None:
        while True:
            try:
                await transform.run(place, output)
            except BadRecordError as error:
                _log.info("no output for %s: %s", place.uri, error)
                return str(error)
            except FAILED as error:
                if not is_transient(error):
                    return f"S3: {error}"
                _log.exception("S3 is out of reach; %s starts again", place.uri)
                await asyncio.sleep(_S3_RETRY_SECONDS)
            else:
                return None

    def _inputs(self, job: Json) -> Iterator[tuple[Location, Location]]:
        """Yield every input object with the place of its output."""
        source = job["TransformInput"]["DataSource"]["S3DataSource"]
        uri = Location.parse(source["S3Uri"])
        out = Location.parse(job["TransformOutput"]["S3OutputPath"])
        if source["S3DataType"] == "S3Prefix":
            for place in self._aws.keys(uri):
                if not place.key.endswith("/"):
                    yield place, out.under(output_name(uri.key, place.key))
            return
        prefix, *names = json.loads(self._aws.read(uri))
        root = Location.parse(prefix["prefix"])
        for name in names:
            yield Location(root.bucket, f"{root.key}{name}"), out.under(f"{name}.out")

    # Telling.

    def _change(self, name: str, status: str, members: Json | None = None, *, ended: bool = False) -> None:
        job = self._get(name)
        now = time.time()
        job |= {"TransformJobStatus": status, **(members or {})}
        if ended:
            job["TransformEndTime"] = now
        detail = transform_detail(job, self._tags(job["TransformJobArn"]))
        self._patch(name, job | {"untold": [*job["untold"], detail]})
        self._spawn_telling(name)

    def _patch(self, name: str, members: Json) -> Json:
        """Change members of a job as it is now; what was read before an await may be stale."""
        job = self._get(name) | members | {"LastModifiedTime": time.time()}
        self._store.put("transform", name, job)
        return job

    def _tags(self, arn: str) -> dict[str, str]:
        tags = (self._store.get("tags", arn) or {}).get("tags", {})
        return dict(tags)

    def _spawn_telling(self, name: str) -> None:
        # One at a time for each job, so that its events leave in order.
        if name not in self._telling:
            self._telling[name] = asyncio.get_running_loop().create_task(self._tell(name))

    async def _tell(self, name: str) -> None:
        try:
            while (job := self._store.get("transform", name)) and job["untold"]:
                if not await self._told(name, job["untold"][0]):
                    await asyncio.sleep(_EVENT_RETRY_SECONDS)
                    continue
                job = self._get(name)
                self._patch(name, {"untold": job["untold"][1:]})
        finally:
            del self._telling[name]

    async def _told(self, name: str, detail: Json) -> bool:
        copies = 1
        if self._faults.take("eventbridge", name, "drop"):
            copies = 0
        elif self._faults.take("eventbridge", name, "duplicate"):
            copies = 2
        try:
            for _ in range(copies):
                arn = detail["TransformJobArn"]
                await asyncio.to_thread(self._bus.send, TRANSFORM_CHANGE, detail, arn, time.time())
        except FAILED:
            _log.exception("EventBridge did not take the news of %s", name)
            return False
        return True


def _check(request: Json) -> None:
    source = request["TransformInput"].get("DataSource", {}).get("S3DataSource", {})
    try:
        Location.parse(source["S3Uri"])
        Location.parse(request["TransformOutput"]["S3OutputPath"])
        processing = Processing.read(request.get("DataProcessing", {}))
    except (ValueError, PathSyntaxError) as error:
        raise validation_exception(str(error)) from error
    split = request["TransformInput"].get("SplitType", "None")
    if split not in ("None", "Line"):
        raise validation_exception(f"SplitType {split} is not served by this stand-in; None and Line are.")
    if request.get("BatchStrategy") == "MultiRecord" and split == "None":
        raise validation_exception("BatchStrategy MultiRecord needs a SplitType.")
    if request["TransformInput"].get("CompressionType", "None") != "None":
        raise validation_exception("Compressed input is not served by this stand-in.")
    kind = request["TransformInput"].get("ContentType", "")
    filtered = processing.join or not (processing.input_filter.is_identity and processing.output_filter.is_identity)
    if filtered and "json" not in kind:
        raise validation_exception(f"DataProcessing of {kind or 'an unnamed type'} is not served; JSON is.")
    size, width = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 1)
    if size > 100 or size * max(width, 1) > 100:
        raise validation_exception("MaxConcurrentTransforms * MaxPayloadInMB cannot exceed 100 MB.")
