"""Asynchronous inference: a durable queue, workers as wide as the endpoint, results in S3, news by SNS.

A request is stored before it is acknowledged. A killed process finds it again as queued or, when its result
is in S3 already, as still to be announced; so a request may run twice but is never lost.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker.aws import FAILED, Aws, Location, is_transient
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet, Target
from local.sagemaker.models.base import Answer, Call, ContainerError
from local.sagemaker.notices import inference_result
from local.sagemaker.serving import Serving, enter
from local.sagemaker.settings import Settings
from local.sagemaker.store import AsyncRequest, Store
from local.sagemaker.wire import Json, ServiceError, validation_error

_log = logging.getLogger(__name__)
_EXPIRY_CHECK_SECONDS = 1.0
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class _FailedError(Exception):
    """The request ends in failure; the text is its reason."""


class _AwayError(Exception):
    """S3 does not answer; the request goes back to the queue."""


class AsyncQueue:
    """Takes, runs and announces async requests.

    Args:
        store: the queue itself.
        fleet: the endpoints.
        serving: runs the models.
        aws: S3 and SNS.
        faults: failures to inject.
        settings: region.
    """

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        serving: Serving,
        aws: Aws,
        faults: Faults,
        settings: Settings,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._serving = serving
        self._aws = aws
        self._faults = faults
        self._settings = settings
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        fleet.on_change(self._wake.set)

    def accept(
        self, endpoint: Json, inference_id: str, asked: Json, ttl_seconds: int, payload: bytes | None
    ) -> tuple[str, str | None]:
        """Store a request; return where its output and its failure will be written.

        Raises:
            ServiceError: the endpoint has nowhere to write.
        """
        config = endpoint["AsyncInferenceConfig"]["OutputConfig"]
        if "S3OutputPath" not in config:
            raise validation_error(f"Endpoint {endpoint['EndpointName']} has no S3OutputPath.")
        name = asked["filename"] or f"{uuid.uuid4()}.out"
        output = Location.parse(config["S3OutputPath"])
        if asked["extension"]:
            output = output.under(asked["extension"].strip("/"))
        asked |= {"output_location": output.under(name).uri, "failure_location": None}
        if "S3FailurePath" in config:
            failed_name = f"{name.removesuffix('.out')}-error.out"
            asked["failure_location"] = Location.parse(config["S3FailurePath"]).under(failed_name).uri
        expires_at = asked["received"] + ttl_seconds
        self._store.enqueue(endpoint["EndpointName"], inference_id, expires_at, asked, payload)
        self._wake.set()
        return asked["output_location"], asked["failure_location"]

    async def work(self) -> None:
        """Run for ever: hand queued requests to free places, refuse those that waited too long."""
        for request in self._store.recover():
            self._spawn(self._announce(request, request.notice or {}))
        while True:
            self._wake.clear()
            for late in self._store.expired(time.time()):
                self._spawn(self._refuse(late, "Request expired before it could be processed.", "expired"))
            for name in self._fleet.names():
                await self._feed(name)
            try:
                async with asyncio.timeout(_EXPIRY_CHECK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def close(self) -> None:
        """Stop all work; what was running is found again at the next start."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _feed(self, name: str) -> None:
        endpoint = self._store.get("endpoint", name)
        if endpoint is None or "AsyncInferenceConfig" not in endpoint:
            return
        while True:
            try:
                target = self._fleet.route(name)
            except ServiceError:
                return  # not in service, or at zero instances: the backlog waits
            if not target.gate.free:
                return
            request = self._store.claim(name)
            if request is None:
                return
            await enter(target)
            self._spawn(self._process(request, target))

    async def _process(self, request: AsyncRequest, target: Target) -> None:
        try:
            try:
                answer = await self._infer(request, target)
            finally:
                target.gate.leave()
                self._wake.set()
            await self._complete(request, answer)
        except _FailedError as error:
            await self._refuse(request, str(error), "failed")
        except _AwayError:
            _log.exception("S3 is out of reach; %s goes back to the queue", request.inference_id)
            await asyncio.sleep(_RETRY_SECONDS[1])
            self._store.requeue(request.seq)
            self._wake.set()
        except Exception as error:  # noqa: BLE001 - whatever breaks, a request must end, and say why
            _log.exception("async request %s broke", request.inference_id)
            await self._refuse(request, f"InternalServerError: {type(error).__name__}: {error}", "failed")

    async def _infer(self, request: AsyncRequest, target: Target) -> Answer:
        asked = request.request
        try:
            await self._faults.strike("async_work", request.endpoint)
            payload = request.payload
            if payload is None:
                payload = await asyncio.to_thread(self._aws.read, Location.parse(asked["input_location"]))
            call = Call(payload, asked["content_type"] or "application/json", asked["accept"] or "")
            async with asyncio.timeout(asked["timeout"]):
                answer = await self._serving.run(target, call, road="async", inference_id=request.inference_id)
        except ServiceError as error:
            raise _FailedError(f"InternalServerError: {error.message}") from error
        except ContainerError as error:
            kind = "client" if error.status < 500 else "server"
            reason = f"ClientError: Received {kind} error ({error.status}) from model. See the SageMaker Endpoint"
            raise _FailedError(f"{reason} logs in your account for more information.") from error
        except TimeoutError as error:
            raise _FailedError("ClientError: The model did not answer in time.") from error
        except (BotoCoreError, ClientError, ValueError) as error:
            raise _s3_failure("download the input data from", asked["input_location"], error) from error
        if self._faults.take("async_work", request.endpoint, "timeout_after_work"):
            raise _FailedError("ClientError: The model did not answer in time.")
        return answer

    async def _complete(self, request: AsyncRequest, answer: Answer) -> None:
        place = Location.parse(request.request["output_location"])
        try:
            await asyncio.to_thread(self._aws.write, place, answer.body, answer.content_type)
        except FAILED as error:
            raise _s3_failure("write the output to", place.uri, error) from error
        topic, embed = self._topic(request.endpoint, "SuccessTopic", "SUCCESS_NOTIFICATION_TOPIC")
        message = self._message(
            request,
            output_location=place.uri,
            content_type=answer.content_type,
            embedded=answer.body if embed else None,
        )
        await self._tell(request, {"topic": topic, "message": message, "state": "completed"})

    async def _refuse(self, request: AsyncRequest, reason: str, state: str) -> None:
        location = request.request["failure_location"]
        if location:
            body = json.dumps({"error": reason}).encode()
            try:
                await asyncio.to_thread(self._aws.write, Location.parse(location), body, "application/json")
            except FAILED:
                _log.exception("the failure of %s could not be written", request.inference_id)
        topic, _ = self._topic(request.endpoint, "ErrorTopic", "ERROR_NOTIFICATION_TOPIC")
        message = self._message(request, failure_reason=reason)
        await self._tell(request, {"topic": topic, "message": message, "state": state})

    def _message(self, request: AsyncRequest, **outcome: Any) -> Json:
        return inference_result(
            region=self._settings.region,
            endpoint=request.endpoint,
            inference_id=request.inference_id,
            request=request.request,
            received=request.request["received"],
            finished=time.time(),
            **outcome,
        )

    def _topic(self, endpoint_name: str, member: str, embed_name: str) -> tuple[str | None, bool]:
        endpoint = self._store.get("endpoint", endpoint_name) or {}
        output = endpoint.get("AsyncInferenceConfig", {}).get("OutputConfig", {})
        config = output.get("NotificationConfig", {})
        return config.get(member), embed_name in config.get("IncludeInferenceResponseIn", ())

    async def _tell(self, request: AsyncRequest, notice: Json) -> None:
        self._store.announce(request.seq, notice)
        await self._announce(request, notice)

    async def _announce(self, request: AsyncRequest, notice: Json) -> None:
        copies = 1
        if self._faults.take("sns", request.endpoint, "drop"):
            copies = 0
        elif self._faults.take("sns", request.endpoint, "duplicate"):
            copies = 2
        late = self._faults.take("sns", request.endpoint, "latency")
        if late:
            await asyncio.sleep(late.seconds)
        if notice["topic"]:
            for _ in range(copies):
                await self._publish(notice["topic"], json.dumps(notice["message"]))
        self._store.finish(request.seq, notice["state"])

    async def _publish(self, topic: str, message: str) -> None:
        attempt = 0
        while True:
            try:
                await asyncio.to_thread(self._aws.publish, topic, message)
            except FAILED as error:
                if is_transient(error):
                    await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                    attempt += 1
                    continue
                # A topic that is gone: AWS drops the message too. The gateway's sweeper is there for that.
                _log.exception("SNS refused a message for %s", topic)
            return


def _s3_failure(what: str, where: str, error: Exception) -> Exception:
    if isinstance(error, FAILED) and is_transient(error):
        return _AwayError(str(error))
    return _FailedError(f"ClientError: Failed to {what} {where}: {error}")
