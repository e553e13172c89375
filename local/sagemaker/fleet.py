"""Endpoints: their life from Creating to deletion, their instances, and who may be served by which."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from local.sagemaker.faults import Faults
from local.sagemaker.gate import Gate
from local.sagemaker.models import container_for
from local.sagemaker.models.base import Container
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.wire import Json, ServiceError, validation_error, validation_exception

_log = logging.getLogger(__name__)
_CHANGING = ("Creating", "Updating", "Deleting")
_SHRINK_SECONDS = 0.05
_NO_INSTANCES = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: a variant of an endpoint, its container, and the gate before it."""

    endpoint: str
    variant: str
    container: Container
    gate: Gate


class Fleet:
    """Every endpoint.

    Args:
        store: where they are kept.
        settings: names, start-up times, queue limit.
        faults: failures to inject into starts.
    """

    def __init__(self, store: Store, settings: Settings, faults: Faults) -> None:
        self._store = store
        self._settings = settings
        self._faults = faults
        self._gates: dict[tuple[str, str], Gate] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._dice = random.SystemRandom()
        self._listeners: list[Callable[[], None]] = []
        self._status_listeners: list[Callable[[str], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever capacity may have changed."""
        self._listeners.append(listener)

    def on_status(self, listener: Callable[[str], None]) -> None:
        """Call the listener with an endpoint's name whenever its status has changed."""
        self._status_listeners.append(listener)

    def changed(self) -> None:
        """Tell the listeners that capacity may have changed."""
        for listener in self._listeners:
            listener()

    def resume(self) -> None:
        """After a restart: give every endpoint its gates and carry on with what was starting."""
        for name, endpoint in self._store.every("endpoint").items():
            self._open_gates(endpoint)
            if endpoint["EndpointStatus"] in ("Creating", "Updating"):
                self._start(name)
            elif endpoint["EndpointStatus"] == "Deleting":
                self._remove(name)

    def close(self) -> None:
        """Stop every start that is under way; `resume` takes it up again."""
        for task in self._starting.values():
            task.cancel()

    # Life.

    def create(self, name: str, config_name: str) -> str:
        """Begin to create an endpoint and return its ARN."""
        if self._store.get("endpoint", name):
            raise validation_exception(f"Cannot create already existing endpoint {self._arn(name)!r}.")
        now = time.time()
        endpoint: Json = {
            "EndpointName": name,
            "EndpointArn": self._arn(name),
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "variants": [],
        }
        self._aim(endpoint, config_name)
        self._save(endpoint)
        self._start(name)
        return self._arn(name)

    def install(self, name: str, config_name: str) -> None:
        """Put an endpoint in service at once, as one that has been there all along."""
        now = time.time()
        endpoint: Json = {
            "EndpointName": name,
            "EndpointArn": self._arn(name),
            "EndpointStatus": "InService",
            "CreationTime": now,
        }
        self._aim(endpoint, config_name)
        endpoint["variants"] = endpoint.pop("target")
        self._save(endpoint)
        self._open_gates(endpoint)
        self.changed()

    def update(self, name: str, config_name: str, *, retain: bool) -> str:
        """Begin to move an endpoint to another configuration; `retain` keeps instance counts and weights."""
        endpoint = self._idle(name)
        old = {variant["VariantName"]: variant for variant in endpoint["variants"]}
        self._aim(endpoint, config_name)
        if retain:
            for variant in endpoint["target"]:
                kept = old.get(variant["VariantName"])
                if kept:
                    variant |= {"instances": kept["instances"], "weight": kept["weight"]}
        endpoint["EndpointStatus"] = "Updating"
        self._save(endpoint)
        self._start(name)
        return self._arn(name)

    def scale(self, name: str, wishes: list[Json]) -> str:
        """Begin to change weights and instance counts."""
        endpoint = self._idle(name)
        target = {variant["VariantName"]: dict(variant) for variant in endpoint["variants"]}
        for wish in wishes:
            variant = target.get(wish["VariantName"])
            if variant is None:
                raise validation_exception(f"The variant name(s) {wish['VariantName']!r} is/are not present.")
            if wish.get("DesiredInstanceCount") == 0 and "AsyncInferenceConfig" not in endpoint:
                raise validation_exception("Only asynchronous endpoints can be scaled to zero instances.")
            variant["weight"] = wish.get("DesiredWeight", variant["weight"])
            variant["instances"] = wish.get("DesiredInstanceCount", variant["instances"])
        endpoint |= {"target": list(target.values()), "EndpointStatus": "Updating"}
        self._save(endpoint)
        self._start(name)
        return self._arn(name)

    def delete(self, name: str) -> None:
        """Begin to delete an endpoint."""
        endpoint = self._get(name)
        if endpoint["EndpointStatus"] in _CHANGING:
            raise validation_exception(f"Cannot update in-progress endpoint {self._arn(name)!r}.")
        endpoint["EndpointStatus"] = "Deleting"
        self._save(endpoint)
        asyncio.get_running_loop().call_later(_SHRINK_SECONDS, self._remove, name)

    def describe(self, name: str) -> Json:
        """Return DescribeEndpoint's answer."""
        endpoint = self._get(name)
        current = {variant["VariantName"]: variant for variant in endpoint["variants"]}
        wanted = {variant["VariantName"]: variant for variant in endpoint.get("target") or endpoint["variants"]}
        answer = {key: value for key, value in endpoint.items() if key not in ("variants", "target")}
        summaries = [_summary(current.get(key), wanted.get(key)) for key in current | wanted]
        if endpoint["EndpointStatus"] != "Failed":
            answer["ProductionVariants"] = summaries
        return answer

    def names(self) -> list[str]:
        """Return the names of all endpoints."""
        return list(self._store.every("endpoint"))

    # Service.

    def in_service(self, name: str) -> Json:
        """Return an endpoint that answers.

        Raises:
            ServiceError: ValidationError, there is none, or it is not in service yet or any more.
        """
        endpoint = self._store.get("endpoint", name)
        if endpoint is None or endpoint["EndpointStatus"] not in ("InService", "Updating"):
            raise validation_error(f"Endpoint {name} of account {self._settings.account} not found.")
        return endpoint

    def route(self, name: str, variant_name: str | None = None) -> Target:
        """Choose a variant: the one asked for, or one at random by weight among those with instances.

        Raises:
            ServiceError: the endpoint does not answer, or has no such variant, or no instances.
        """
        endpoint = self.in_service(name)
        variants = [variant for variant in endpoint["variants"] if variant.get("image")]
        if variant_name:
            variants = [variant for variant in variants if variant["VariantName"] == variant_name]
            if not variants:
                raise validation_error(f"Variant {variant_name} not found for endpoint {name}.")
        if not variants:
            raise validation_error("Inference Component Name header is required for endpoint " + name + ".")
        ready = [variant for variant in variants if variant["instances"] > 0]
        if not ready:
            raise ServiceError(503, "ServiceUnavailable", f"Endpoint {name} has no instances in service.")
        weights = [variant["weight"] for variant in ready]
        [chosen] = self._dice.choices(ready, weights if any(weights) else None)
        return self.target(name, chosen)

    def target(self, name: str, variant: Json) -> Target:
        """Return a variant's container and gate."""
        container = container_for(variant["image"])
        if container is None:
            raise ServiceError(500, "InternalFailure", f"No container for {variant['image']}")
        key = (name, variant["VariantName"])
        return Target(name, variant["VariantName"], container, self._gates[key])

    def gates(self) -> dict[str, Json]:
        """Return how full every gate is, by `endpoint/variant`."""
        return {
            f"{name}/{variant}": {"places": gate.places, "busy": gate.busy, "waiting": gate.waiting}
            for (name, variant), gate in self._gates.items()
        }

    # Inside.

    def _arn(self, name: str) -> str:
        return self._settings.arn("endpoint", name)

    def _get(self, name: str) -> Json:
        endpoint = self._store.get("endpoint", name)
        if endpoint is None:
            raise validation_exception(f"Could not find endpoint {self._arn(name)!r}.")
        return endpoint

    def model_prefix(self, name: str, variant_name: str) -> str:
        """`ModelDataUrl` of the model that a variant runs."""
        [variant] = [v for v in self._get(name)["variants"] if v["VariantName"] == variant_name]
        model = self._store.get("model", variant["ModelName"] or "") or {}
        prefix = (model.get("PrimaryContainer") or {}).get("ModelDataUrl")
        if not prefix:
            raise validation_error(f"Endpoint {name} has no ModelDataUrl to load models from.")
        return str(prefix)

    def _idle(self, name: str) -> Json:
        endpoint = self._get(name)
        if endpoint["EndpointStatus"] in _CHANGING:
            raise validation_exception(f"Cannot update in-progress endpoint {self._arn(name)!r}.")
        return endpoint

    def _save(self, endpoint: Json) -> None:
        name = endpoint["EndpointName"]
        before = self._store.get("endpoint", name) or {}
        endpoint["LastModifiedTime"] = time.time()
        self._store.put("endpoint", name, endpoint)
        if before.get("EndpointStatus") != endpoint["EndpointStatus"]:
            for listener in self._status_listeners:
                listener(name)

    def _aim(self, endpoint: Json, config_name: str) -> None:
        config = self._store.get("endpoint-config", config_name)
        if config is None:
            arn = self._settings.arn("endpoint-config", config_name)
            raise validation_exception(f"Could not find endpoint configuration {arn!r}.")
        endpoint["EndpointConfigName"] = config_name
        endpoint.pop("AsyncInferenceConfig", None)
        endpoint.pop("FailureReason", None)
        if "AsyncInferenceConfig" in config:
            endpoint["AsyncInferenceConfig"] = config["AsyncInferenceConfig"]
        endpoint["target"] = [self._variant(variant, config) for variant in config["ProductionVariants"]]

    def _variant(self, variant: Json, config: Json) -> Json:
        model = self._store.get("model", variant.get("ModelName", "")) or {}
        container = model.get("PrimaryContainer") or {}
        client = (config.get("AsyncInferenceConfig") or {}).get("ClientConfig") or {}
        environment = container.get("Environment") or {}
        per_instance = client.get("MaxConcurrentInvocationsPerInstance")
        return {
            "VariantName": variant["VariantName"],
            "ModelName": variant.get("ModelName"),
            "image": container.get("Image"),
            "mode": container.get("Mode", "SingleModel"),
            "instance_type": variant.get("InstanceType", "ml.m5.large"),
            "instances": variant.get("InitialInstanceCount", 1),
            "weight": variant.get("InitialVariantWeight", 1.0),
            "per_instance": per_instance or _number(environment, "SAGEMAKER_MODEL_SERVER_WORKERS"),
            "queue_limit": _number(environment, "STANDIN_QUEUE_LIMIT"),
            "start_seconds": _number(environment, "STANDIN_START_SECONDS"),
        }

    def _start(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._bring_up(name))
        self._starting[name] = task

    async def _bring_up(self, name: str) -> None:
        endpoint = self._get(name)
        await asyncio.sleep(self._seconds_to(endpoint))
        slow = self._faults.take("start", name, "latency")
        if slow:
            await asyncio.sleep(slow.seconds)
        reason = self._why_not(endpoint)
        endpoint = self._get(name)
        if reason is None:
            endpoint |= {"variants": endpoint.pop("target"), "EndpointStatus": "InService"}
            endpoint.pop("FailureReason", None)
        else:
            # A failed update leaves the endpoint serving as before; a failed creation leaves nothing.
            was_serving = endpoint["EndpointStatus"] == "Updating"
            endpoint.pop("target")
            endpoint |= {"EndpointStatus": "InService" if was_serving else "Failed", "FailureReason": reason}
        self._save(endpoint)
        self._open_gates(endpoint)
        self._starting.pop(name, None)
        _log.info("endpoint %s is %s %s", name, endpoint["EndpointStatus"], reason or "")
        self.changed()

    def _seconds_to(self, endpoint: Json) -> float:
        now = {variant["VariantName"]: variant for variant in endpoint["variants"]}
        waits = [_SHRINK_SECONDS]
        for variant in endpoint["target"]:
            before = now.get(variant["VariantName"], {})
            grows = variant["instances"] > before.get("instances", 0)
            if grows or variant["image"] != before.get("image"):
                own = variant["start_seconds"]
                told = self._settings.start_time(endpoint["EndpointName"], variant["instance_type"])
                waits.append(told if own is None else own)
        return max(waits)

    def _why_not(self, endpoint: Json) -> str | None:
        fault = self._faults.take("start", endpoint["EndpointName"], "capacity", "error")
        if fault:
            return _NO_INSTANCES if fault.kind == "capacity" else fault.message
        for variant in endpoint["target"]:
            if variant["image"] and container_for(variant["image"]) is None:
                return f"The image '{variant['image']}' of variant {variant['VariantName']} does not exist."
        return None

    def _open_gates(self, endpoint: Json) -> None:
        for variant in endpoint["variants"]:
            container = container_for(variant["image"]) if variant["image"] else None
            if container is None:
                continue
            places = variant["instances"] * int(variant["per_instance"] or container.workers)
            key = (endpoint["EndpointName"], variant["VariantName"])
            if key in self._gates:
                self._gates[key].resize(places)
            else:
                own = variant["queue_limit"]
                self._gates[key] = Gate(places, self._settings.queue_limit if own is None else int(own))

    def _remove(self, name: str) -> None:
        self._store.delete("endpoint", name)
        self._store.delete("tags", self._arn(name))
        self._store.drop_queue(name)
        for key in [key for key in self._gates if key[0] == name]:
            del self._gates[key]
        self.changed()


def _number(environment: Json, name: str) -> float | None:
    """Return a number from a model's environment, None when it is not there."""
    try:
        return float(environment[name]) if name in environment else None
    except ValueError as error:
        raise validation_exception(f"{name} is not a number: {environment[name]!r}") from error


def _summary(current: Json | None, wanted: Json | None) -> Json:
    shown = current or wanted or {}
    return {
        "VariantName": shown["VariantName"],
        "CurrentWeight": current["weight"] if current else 0.0,
        "DesiredWeight": wanted["weight"] if wanted else 0.0,
        "CurrentInstanceCount": current["instances"] if current else 0,
        "DesiredInstanceCount": wanted["instances"] if wanted else 0,
    }
