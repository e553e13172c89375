"""Inference components: models that share an endpoint's instances, each with its own number of copies."""

import asyncio
import time
from collections import Counter

from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet, Target
from local.sagemaker.gate import Gate
from local.sagemaker.models import container_for
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.wire import Json, validation_error, validation_exception

_NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
    "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)


class Components:
    """Every inference component.

    Args:
        store: where they are kept.
        settings: names and start-up times.
        fleet: the endpoints below them.
        faults: failures to inject into starts (op `start`, endpoint = the component's name).
    """

    def __init__(self, store: Store, settings: Settings, fleet: Fleet, faults: Faults) -> None:
        self._store = store
        self._settings = settings
        self._fleet = fleet
        self._faults = faults
        self._gates: dict[str, Gate] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._refused: Counter[str] = Counter()
        self._invoked: Counter[str] = Counter()

    def resume(self) -> None:
        """After a restart: open the gates and carry on with what was starting."""
        for name, component in self._store.every("component").items():
            self._open_gate(component)
            if component["InferenceComponentStatus"] in ("Creating", "Updating"):
                self._start(name)

    def close(self) -> None:
        """Stop every start that is under way."""
        for task in self._starting.values():
            task.cancel()

    def create(self, request: Json) -> str:
        """Begin to create a component and return its ARN."""
        name = request["InferenceComponentName"]
        arn = self._settings.arn("inference-component", name)
        if self._store.get("component", name):
            raise validation_exception(f"Cannot create already existing inference component {arn!r}.")
        endpoint = self._fleet.describe(request["EndpointName"])
        if endpoint["EndpointStatus"] != "InService":
            raise validation_exception(f"Endpoint {request['EndpointName']} is not in service.")
        now = time.time()
        component: Json = {
            "InferenceComponentName": name,
            "InferenceComponentArn": arn,
            "EndpointName": request["EndpointName"],
            "EndpointArn": endpoint["EndpointArn"],
            "VariantName": request.get("VariantName") or endpoint["ProductionVariants"][0]["VariantName"],
            "Specification": request.get("Specification", {}),
            "CreationTime": now,
            "InferenceComponentStatus": "Creating",
            "copies": 0,
            "wanted": (request.get("RuntimeConfig") or {}).get("CopyCount", 1),
        }
        self._image(component)
        self._save(component)
        self._start(name)
        return arn

    def update(self, name: str, *, specification: Json | None, copies: int | None) -> str:
        """Begin to change a component's model or number of copies."""
        component = self._get(name)
        if component["InferenceComponentStatus"] in ("Creating", "Updating"):
            arn = component["InferenceComponentArn"]
            raise validation_exception(f"Cannot update in-progress inference component {arn!r}.")
        if specification:
            component["Specification"] = specification
            self._image(component)
        if copies is not None:
            component["wanted"] = copies
        component["InferenceComponentStatus"] = "Updating"
        component.pop("FailureReason", None)
        self._save(component)
        self._start(name)
        return str(component["InferenceComponentArn"])

    def delete(self, name: str) -> None:
        """Delete a component."""
        self._get(name)
        task = self._starting.pop(name, None)
        if task:
            task.cancel()
        self._store.delete("component", name)
        self._gates.pop(name, None)

    def describe(self, name: str) -> Json:
        """Return DescribeInferenceComponent's answer."""
        component = self._get(name)
        copies, wanted = component.pop("copies"), component.pop("wanted")
        return component | {"RuntimeConfig": {"CurrentCopyCount": copies, "DesiredCopyCount": wanted}}

    def names(self) -> list[str]:
        """Return the names of all components."""
        return list(self._store.every("component"))

    def target(self, endpoint: str, name: str) -> Target:
        """Return a component's container and gate.

        Raises:
            ServiceError: ValidationError, it is not on this endpoint, or has no copy.
        """
        component = self._store.get("component", name)
        if component is None or component["EndpointName"] != endpoint:
            raise validation_error(f"Inference Component {name} not found on endpoint {endpoint}.")
        container = container_for(self._image(component))
        if component["copies"] < 1 or container is None:
            self._refused[name] += 1
            raise validation_error(_NO_CAPACITY)
        self._invoked[name] += 1
        return Target(endpoint, component["VariantName"], container, self._gates[name])

    def take_invoked(self) -> dict[str, int]:
        """Return how many calls found a copy, by component, since this was asked last."""
        invoked = dict(self._invoked)
        self._invoked.clear()
        return invoked

    def take_refused(self) -> dict[str, int]:
        """Return how many calls found no copy, by component, since this was asked last."""
        refused = dict(self._refused)
        self._refused.clear()
        return refused

    def _get(self, name: str) -> Json:
        component = self._store.get("component", name)
        if component is None:
            arn = self._settings.arn("inference-component", name)
            raise validation_exception(f"Could not find inference component {arn!r}.")
        return component

    def _image(self, component: Json) -> str:
        specification = component["Specification"]
        own = (specification.get("Container") or {}).get("Image")
        model = self._store.get("model", specification.get("ModelName", ""))
        if own is None and model is None:
            raise validation_exception("The specification names neither a known model nor a container.")
        return str(own or (model or {})["PrimaryContainer"]["Image"])

    def _save(self, component: Json) -> None:
        component["LastModifiedTime"] = time.time()
        self._store.put("component", component["InferenceComponentName"], component)

    def _start(self, name: str) -> None:
        self._starting[name] = asyncio.get_running_loop().create_task(self._bring_up(name))

    async def _bring_up(self, name: str) -> None:
        component = self._get(name)
        if component["wanted"] > component["copies"]:
            await asyncio.sleep(self._settings.start_time(name, ""))
        slow = self._faults.take("start", name, "latency")
        if slow:
            await asyncio.sleep(slow.seconds)
        fault = self._faults.take("start", name, "capacity", "error")
        component = self._get(name)
        if fault:
            reason = "Insufficient capacity to place the copies." if fault.kind == "capacity" else fault.message
            component |= {"InferenceComponentStatus": "Failed", "FailureReason": reason}
        elif container_for(self._image(component)) is None:
            component |= {"InferenceComponentStatus": "Failed", "FailureReason": "The image does not exist."}
        else:
            component |= {"InferenceComponentStatus": "InService", "copies": component["wanted"]}
        self._save(component)
        self._open_gate(component)
        self._starting.pop(name, None)
        self._fleet.changed()

    def _open_gate(self, component: Json) -> None:
        container = container_for(self._image(component))
        places = component["copies"] * (container.workers if container else 0)
        name = component["InferenceComponentName"]
        if name in self._gates:
            self._gates[name].resize(places)
        else:
            self._gates[name] = Gate(places, self._settings.queue_limit)
