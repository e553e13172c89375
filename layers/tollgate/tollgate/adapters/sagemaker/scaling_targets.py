"""Scaling targets and policies of SageMaker's variants and components, through boto3's Application Auto Scaling."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import replace
from typing import Any, Protocol

from tollgate.domain.places.standing import ScalingPolicy, ScalingTarget

_NAMESPACE = "sagemaker"
_SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_CONFIGURATIONS = {
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    "StepScaling": "StepScalingPolicyConfiguration",
    "PredictiveScaling": "PredictiveScalingPolicyConfiguration",
}


class Paginator(Protocol):
    """The part of boto3's paginator that is used."""

    def paginate(self, **arguments: Any) -> Iterable[Mapping[str, Any]]:
        """Pages of an answer."""


class ScalingClient(Protocol):
    """The part of ``boto3.client("application-autoscaling")`` that is used; its stubs are not installed."""

    def get_paginator(self, operation_name: str) -> Paginator:
        """The paginator of an operation."""

    def register_scalable_target(self, **arguments: Any) -> Mapping[str, Any]:
        """RegisterScalableTarget."""

    def put_scaling_policy(self, **arguments: Any) -> Mapping[str, Any]:
        """PutScalingPolicy."""


class ScalingTargets:
    """Reads, pins and restores scaling targets. Errors are boto3's own; `SageMakerControl` translates them.

    Args:
        client: makes the client when it is first needed.
    """

    def __init__(self, client: Callable[[], ScalingClient]) -> None:
        self._client = client

    def of(self, resource_ids: Sequence[str]) -> tuple[ScalingTarget, ...]:
        """The targets registered for these resources, with their policies, by resource id."""
        if not resource_ids:
            return ()
        pages = self._client().get_paginator("describe_scalable_targets")
        found = [
            _target(document)
            for page in pages.paginate(ServiceNamespace=_NAMESPACE, ResourceIds=list(resource_ids))
            for document in page["ScalableTargets"]
        ]
        return tuple(
            replace(target, policies=self._policies(target.resource_id))
            for target in sorted(found, key=lambda t: t.resource_id)
        )

    def _policies(self, resource_id: str) -> tuple[ScalingPolicy, ...]:
        pages = self._client().get_paginator("describe_scaling_policies")
        found = [
            _policy(document)
            for page in pages.paginate(ServiceNamespace=_NAMESPACE, ResourceId=resource_id)
            for document in page["ScalingPolicies"]
        ]
        return tuple(sorted(found, key=lambda policy: policy.name))

    def pin(self, now: Sequence[ScalingTarget], *, closed: bool) -> tuple[str, ...]:
        """Let these targets reach 0, and with `closed` nothing else. Returns what was changed."""
        changes = []
        for target in now:
            wanted = replace(target, minimum=0, maximum=0 if closed else target.maximum)
            if wanted != target:
                self._register(wanted)
                changes.append(_told(target, wanted))
        return tuple(changes)

    def restore(self, now: Sequence[ScalingTarget], before: Sequence[ScalingTarget]) -> tuple[str, ...]:
        """Make the targets and policies what they were. Targets made meanwhile stay. Returns what was changed."""
        present = {target.resource_id: target for target in now}
        changes = []
        for wanted in before:
            found = present.get(wanted.resource_id)
            if found is None or replace(found, policies=()) != replace(wanted, policies=()):
                self._register(wanted)
                changes.append(_told(found, wanted))
            kept = found.policies if found is not None else ()
            for policy in wanted.policies:
                if policy not in kept:
                    self._put(wanted, policy)
                    changes.append(f"{wanted.resource_id}: policy {policy.name} put back")
        return tuple(changes)

    def _register(self, target: ScalingTarget) -> None:
        self._client().register_scalable_target(
            ServiceNamespace=_NAMESPACE,
            ResourceId=target.resource_id,
            ScalableDimension=target.dimension,
            MinCapacity=target.minimum,
            MaxCapacity=target.maximum,
            SuspendedState=dict(zip(_SUSPENSIONS, target.suspended, strict=True)),
        )

    def _put(self, target: ScalingTarget, policy: ScalingPolicy) -> None:
        self._client().put_scaling_policy(
            PolicyName=policy.name,
            ServiceNamespace=_NAMESPACE,
            ResourceId=target.resource_id,
            ScalableDimension=target.dimension,
            PolicyType=policy.policy_type,
            **{_CONFIGURATIONS[policy.policy_type]: json.loads(policy.configuration)},
        )


def _target(document: Mapping[str, Any]) -> ScalingTarget:
    suspended = document.get("SuspendedState") or {}
    first, second, third = (bool(suspended.get(name)) for name in _SUSPENSIONS)
    return ScalingTarget(
        resource_id=document["ResourceId"],
        dimension=document["ScalableDimension"],
        minimum=document["MinCapacity"],
        maximum=document["MaxCapacity"],
        suspended=(first, second, third),
    )


def _policy(document: Mapping[str, Any]) -> ScalingPolicy:
    configuration = document.get(_CONFIGURATIONS[document["PolicyType"]]) or {}
    return ScalingPolicy(
        name=document["PolicyName"],
        policy_type=document["PolicyType"],
        configuration=json.dumps(configuration, sort_keys=True, separators=(",", ":")),
    )


def _told(before: ScalingTarget | None, after: ScalingTarget) -> str:
    was = "nothing" if before is None else f"{before.minimum}..{before.maximum}"
    return f"{after.resource_id}: scaling target {was} -> {after.minimum}..{after.maximum}"
