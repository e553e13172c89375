"""Application Auto Scaling for variants and components: targets, policies, and bounds that are really held.

Policies are kept, not evaluated: what a policy does depends on alarms that AWS makes and evaluates over minutes. The
bounds of a target act at once, as they do on AWS: a count outside of them is moved to the nearest one.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from local.sagemaker.components import Components
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.wire import Json, Reply, Request, ServiceError, validation_exception

TARGET_PREFIX = "AnyScaleFrontendService"
_VARIANT = "sagemaker:variant:DesiredInstanceCount"
_COMPONENT = "sagemaker:inference-component:DesiredCopyCount"
_CONFIGURATIONS = (
    "TargetTrackingScalingPolicyConfiguration",
    "StepScalingPolicyConfiguration",
    "PredictiveScalingPolicyConfiguration",
)
_SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


class Scaling:
    """Every scaling target.

    Args:
        store: where they are kept.
        settings: names.
        fleet: endpoints, whose variants are scaled.
        components: inference components, whose copies are scaled.
        faults: failures to inject, by action name.
    """

    def __init__(self, store: Store, settings: Settings, fleet: Fleet, components: Components, faults: Faults) -> None:
        self._store = store
        self._settings = settings
        self._fleet = fleet
        self._components = components
        self._faults = faults
        self._actions: dict[str, Callable[[Json], Json]] = {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": self._targets,
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": self._policies,
            "DeleteScalingPolicy": self._delete_policy,
        }
        fleet.on_change(self.hold_bounds)

    async def answer(self, request: Request) -> Reply:
        """Answer one action.

        Raises:
            ServiceError: ValidationException, ObjectNotFoundException, or an injected error.
        """
        action = (request.header("x-amz-target") or "").partition(".")[2]
        handler = self._actions.get(action)
        if handler is None:
            raise ServiceError(400, "UnknownOperationException", f"The operation {action!r} is not served here.")
        query = json.loads(request.body or b"{}")
        if query.get("ServiceNamespace") != "sagemaker":
            raise validation_exception("Only the namespace sagemaker is served here.")
        await self._faults.strike(action, query.get("ResourceId", ""))
        body = handler(query)
        return Reply(200, json.dumps(body).encode(), {"content-type": "application/x-amz-json-1.1"})

    def hold_bounds(self) -> None:
        """Move every count that is outside of its target's bounds, unless that direction is suspended."""
        for target in self._store.every("scaling-target").values():
            self._hold(target)

    def _hold(self, target: Json) -> None:
        suspended = target["SuspendedState"]
        # A place that is gone or changing is left alone; the change's end calls this again.
        with suppress(ServiceError):
            count = self._count(target)
            wanted = min(max(count, target["MinCapacity"]), target["MaxCapacity"])
            direction = "DynamicScalingOutSuspended" if wanted > count else "DynamicScalingInSuspended"
            if wanted != count and not suspended[direction]:
                self._scale(target, wanted)

    def _count(self, target: Json) -> int:
        kind, name, *rest = target["ResourceId"].split("/")
        if kind == "inference-component":
            return int(self._components.describe(name)["RuntimeConfig"]["DesiredCopyCount"])
        found = self._fleet.describe(name).get("ProductionVariants", ())
        counts = [v["DesiredInstanceCount"] for v in found if v["VariantName"] == rest[-1]]
        if not counts:
            raise validation_exception(f"{target['ResourceId']} was not found.")
        return int(counts[0])

    def _scale(self, target: Json, count: int) -> None:
        kind, name, *rest = target["ResourceId"].split("/")
        if kind == "inference-component":
            self._components.update(name, specification=None, copies=count)
        else:
            self._fleet.scale(name, [{"VariantName": rest[-1], "DesiredInstanceCount": count}])

    def _register(self, query: Json) -> Json:
        resource = query["ResourceId"]
        known = self._store.get("scaling-target", resource)
        suspended = dict.fromkeys(_SUSPENSIONS, False) | ((known or {}).get("SuspendedState") or {})
        target: Json = (known or {}) | {
            "ServiceNamespace": "sagemaker",
            "ResourceId": resource,
            "ScalableDimension": query["ScalableDimension"],
            "RoleARN": f"arn:aws:iam::{self._settings.account}:role/scaling",
            "CreationTime": (known or {}).get("CreationTime", time.time()),
            "SuspendedState": suspended | query.get("SuspendedState", {}),
        }
        for member in ("MinCapacity", "MaxCapacity"):
            if member in query:
                target[member] = query[member]
            elif member not in target:
                raise validation_exception(f"{member} is required for a new target.")
        if not 0 <= target["MinCapacity"] <= target["MaxCapacity"]:
            raise validation_exception("MinCapacity must be from 0 to MaxCapacity.")
        dimension = _COMPONENT if resource.startswith("inference-component/") else _VARIANT
        if query["ScalableDimension"] != dimension:
            raise validation_exception(f"{resource} has the scalable dimension {dimension}.")
        if known is None:
            self._count(target)  # raises for what does not exist
        self._store.put("scaling-target", resource, target)
        self._hold(target)
        return {"ScalableTargetARN": self._settings.arn("scalable-target", resource)}

    def _targets(self, query: Json) -> Json:
        wanted = query.get("ResourceIds")
        found = self._store.every("scaling-target").values()
        return {"ScalableTargets": [t for t in found if wanted is None or t["ResourceId"] in wanted]}

    def _deregister(self, query: Json) -> Json:
        self._required(query["ResourceId"])
        self._store.delete("scaling-target", query["ResourceId"])
        for key, policy in self._store.every("scaling-policy").items():
            if policy["ResourceId"] == query["ResourceId"]:
                self._store.delete("scaling-policy", key)
        return {}

    def _put_policy(self, query: Json) -> Json:
        self._required(query["ResourceId"])
        name = query["PolicyName"]
        arn = self._settings.arn("scaling-policy", f"{query['ResourceId']}:{name}")
        members = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", *_CONFIGURATIONS)
        policy = {member: query[member] for member in members if member in query}
        policy |= {"PolicyType": query.get("PolicyType", "StepScaling"), "PolicyARN": arn, "CreationTime": time.time()}
        self._store.put("scaling-policy", f"{query['ResourceId']} {name}", policy)
        return {"PolicyARN": arn, "Alarms": []}

    def _policies(self, query: Json) -> Json:
        wanted: Any = query.get("ResourceId")
        found = self._store.every("scaling-policy").values()
        return {"ScalingPolicies": [p for p in found if wanted in (None, p["ResourceId"])]}

    def _delete_policy(self, query: Json) -> Json:
        key = f"{query['ResourceId']} {query['PolicyName']}"
        if self._store.get("scaling-policy", key) is None:
            raise ServiceError(400, "ObjectNotFoundException", f"No scaling policy found: {key}")
        self._store.delete("scaling-policy", key)
        return {}

    def _required(self, resource: str) -> None:
        if self._store.get("scaling-target", resource) is None:
            raise ServiceError(400, "ObjectNotFoundException", f"No scalable target registered: {resource}")
