"""Endpoints, inference components and transform jobs, taken down and put back through boto3.

SageMaker refuses a change while another is under way and says so with the same code as for a request it will never
take. So nothing is ordered from a place that is changing, and a refusal counts only if the place still stands as it
did when the order was made.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from tollgate.adapters.sagemaker.boto import ABSENT, BUSY, boto_client, control_errors
from tollgate.adapters.sagemaker.scaling_targets import ScalingClient, ScalingTargets
from tollgate.domain.places.standing import Place, PlaceKind, Standing, StandStatus, Step, VariantStanding

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DesiredWeightAndCapacityTypeDef

_STATUSES: Mapping[str, StandStatus] = {
    "InService": StandStatus.UP,
    "Failed": StandStatus.FAILED,
    "OutOfService": StandStatus.FAILED,
    "UpdateRollbackFailed": StandStatus.FAILED,
}
"""Every other status of an endpoint or a component is a change under way.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""

_COPIES = "copies"
_OUR_JOBS = "tollgate-"
"""With what the names of our transform jobs begin; the function may look at no others."""
_RESERVED_TAGS = "aws:"


class SageMakerControl:
    """The `EndpointControl` of AWS.

    Args:
        make: makes the boto3 client of a service.
    """

    def __init__(self, make: Callable[[str], Any] = boto_client) -> None:
        self._make_client = make
        self._scaling = ScalingTargets(lambda: self._autoscaling)

    @cached_property
    def _sagemaker(self) -> "SageMakerClient":
        return cast("SageMakerClient", self._make_client("sagemaker"))

    @cached_property
    def _autoscaling(self) -> ScalingClient:
        return cast("ScalingClient", self._make_client("application-autoscaling"))

    def describe(self, place: Place) -> Standing:
        """See `EndpointControl`."""
        with control_errors(place.key, later=BUSY):
            match place.kind:
                case PlaceKind.COMPONENT:
                    return self._component(place)
                case PlaceKind.BATCH:
                    return self._jobs(place)
                case PlaceKind.REALTIME | PlaceKind.ASYNC:
                    return self._endpoint(place)

    def take_down(self, before: Standing, *, pinned: bool = True) -> Step:
        """See `EndpointControl`."""
        now = self.describe(before.place)
        with control_errors(before.place.key, later=BUSY):
            if before.place.kind is PlaceKind.BATCH:
                return self._stop_jobs(now)
            if now.status is StandStatus.ABSENT:
                return Step(settled=True)
            if before.place.kind is PlaceKind.REALTIME:
                return self._delete(now)
            changes = self._scaling.pin(now.scaling, closed=pinned)
            if now.desired == 0 and now.status is not StandStatus.CHANGING:
                return Step(settled=now.current == 0, changes=changes)
            down = [VariantStanding(v.name, v.current, 0, v.weight) for v in now.variants]
            return self._count(now, tuple(down), changes)

    def bring_up(self, before: Standing) -> Step:
        """See `EndpointControl`."""
        if before.place.kind is PlaceKind.BATCH or before.status is StandStatus.ABSENT:
            return Step(settled=True)
        now = self.describe(before.place)
        with control_errors(before.place.key, later=BUSY):
            if before.place.kind is PlaceKind.REALTIME and now.status in {StandStatus.ABSENT, StandStatus.FAILED}:
                return self._make(before, now)
            if problem := _beyond_help(now):
                return Step(settled=False, problem=problem, failed=True)
            if now.status is StandStatus.CHANGING:
                return _changing(now)
            changes = self._scaling.restore(now.scaling, before.scaling)
            wanted = {v.name: v for v in before.variants}
            # A component that failed to start keeps the wanted count: the same order again is a new try.
            if now.status is not StandStatus.FAILED and all(
                _same_count(wanted.get(v.name, v), v) for v in now.variants
            ):
                return Step(settled=True, changes=changes, problem=now.problem)
            return self._count(now, tuple(wanted.get(v.name, v) for v in now.variants), changes)

    # -- looking

    def _endpoint(self, place: Place) -> Standing:
        found = self._found(lambda: self._sagemaker.describe_endpoint(EndpointName=place.name))
        if found is None:
            return Standing(place, StandStatus.ABSENT)
        variants = tuple(
            VariantStanding(
                name=summary["VariantName"],
                current=summary.get("CurrentInstanceCount", 0),
                desired=summary.get("DesiredInstanceCount", summary.get("CurrentInstanceCount", 0)),
                weight=float(summary.get("DesiredWeight", summary.get("CurrentWeight", 1.0))),
            )
            for summary in found.get("ProductionVariants", ())
        )
        status = _STATUSES.get(found["EndpointStatus"], StandStatus.CHANGING)
        if (
            status is StandStatus.UP
            and place.kind is PlaceKind.ASYNC
            and not any(v.current or v.desired for v in variants)
        ):
            status = StandStatus.DOWN
        return Standing(
            place,
            status,
            configuration=found.get("EndpointConfigName"),
            variants=variants,
            scaling=self._scaling.of([f"endpoint/{place.name}/variant/{v.name}" for v in variants]),
            tags=self._tags(found["EndpointArn"]) if place.kind is PlaceKind.REALTIME else (),
            problem=found.get("FailureReason", ""),
        )

    def _tags(self, arn: str) -> tuple[tuple[str, str], ...]:
        pages = self._sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        # AWS's own tags, such as CloudFormation's, cannot be set by anybody else.
        return tuple(
            sorted(
                (tag["Key"], tag["Value"])
                for page in pages
                for tag in page["Tags"]
                if not tag["Key"].startswith(_RESERVED_TAGS)
            )
        )

    def _component(self, place: Place) -> Standing:
        found = self._found(lambda: self._sagemaker.describe_inference_component(InferenceComponentName=place.name))
        if found is None:
            return Standing(place, StandStatus.ABSENT)
        counts = found.get("RuntimeConfig") or {}
        copies = VariantStanding(_COPIES, counts.get("CurrentCopyCount", 0), counts.get("DesiredCopyCount", 0))
        status = _STATUSES.get(found["InferenceComponentStatus"], StandStatus.CHANGING)
        if status is StandStatus.UP and not copies.current and not copies.desired:
            status = StandStatus.DOWN
        return Standing(
            place,
            status,
            variants=(copies,),
            scaling=self._scaling.of([f"inference-component/{place.name}"]),
            problem=found.get("FailureReason", ""),
        )

    def _jobs(self, place: Place) -> Standing:
        found = self._sagemaker.get_paginator("list_transform_jobs").paginate(
            StatusEquals="InProgress", NameContains=_OUR_JOBS
        )
        running = [summary["TransformJobName"] for page in found for summary in page["TransformJobSummaries"]]
        ours = []
        for name in running:
            if not name.startswith(_OUR_JOBS):
                continue
            # The listing does not say which model a job runs.
            job = self._found(partial(self._sagemaker.describe_transform_job, TransformJobName=name))
            if job is not None and job["ModelName"] == place.name and job["TransformJobStatus"] == "InProgress":
                ours.append(name)
        return Standing(place, StandStatus.UP if ours else StandStatus.DOWN, jobs=tuple(sorted(ours)))

    def _found(self, look: Callable[[], Any]) -> Any:
        """What was described, None if it does not exist: names are well formed, so nothing else fails validation."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        try:
            return look()
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT:
                return None
            raise

    # -- changing

    def _delete(self, now: Standing) -> Step:
        if now.status is StandStatus.FAILED:
            return Step(settled=True, problem=now.problem)
        if now.status is StandStatus.CHANGING:
            return _changing(now)
        told = f"{now.place.key} deleted; configuration {now.configuration} kept"
        return self._order(now, lambda: self._sagemaker.delete_endpoint(EndpointName=now.place.name), (told,))

    def _make(self, before: Standing, now: Standing) -> Step:
        name, configuration = before.place.name, before.configuration
        if configuration is None:
            return Step(settled=False, problem=f"nobody knows the configuration of {before.place.key}", failed=True)
        if now.status is StandStatus.FAILED:
            told = f"{before.place.key} had failed and was deleted"
            step = self._order(now, lambda: self._sagemaker.delete_endpoint(EndpointName=name), (told,))
            return Step(settled=False, changes=step.changes, problem=now.problem or step.problem, failed=True)
        tags: Any = [{"Key": key, "Value": value} for key, value in before.tags]
        told = f"{before.place.key} made again from configuration {configuration}"
        return self._order(
            now,
            lambda: self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=configuration, Tags=tags),
            (told,),
        )

    def _count(self, now: Standing, wanted: tuple[VariantStanding, ...], changes: tuple[str, ...]) -> Step:
        if now.status is StandStatus.CHANGING:
            return _changing(now, changes)
        told = tuple(
            f"{now.place.key}: {new.name} {old.desired} -> {new.desired}"
            + ("" if old.weight == new.weight else f", weight {old.weight:g} -> {new.weight:g}")
            for old, new in zip(now.variants, wanted, strict=True)
            if not _same_count(old, new)
        )
        if now.place.kind is PlaceKind.COMPONENT:
            return self._order(now, lambda: self._set_copies(now.place.name, wanted[0].desired), told, changes)
        counts: list[DesiredWeightAndCapacityTypeDef] = [
            {"VariantName": v.name, "DesiredWeight": v.weight, "DesiredInstanceCount": v.desired} for v in wanted
        ]
        return self._order(
            now,
            lambda: self._sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=now.place.name, DesiredWeightsAndCapacities=counts
            ),
            told,
            changes,
        )

    def _set_copies(self, name: str, copies: int) -> object:
        return self._sagemaker.update_inference_component_runtime_config(
            InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": copies}
        )

    def _stop_jobs(self, now: Standing) -> Step:
        for name in now.jobs:
            # One that ended since it was listed fails validation, which is as good.
            self._found(partial(self._sagemaker.stop_transform_job, TransformJobName=name))
        return Step(settled=not now.jobs, changes=tuple(f"transform job {name} stopped" for name in now.jobs))

    def _order(
        self, seen: Standing, order: Callable[[], object], told: tuple[str, ...], earlier: tuple[str, ...] = ()
    ) -> Step:
        """Give an order; a refusal by something that has moved on since it was seen is only a reason to come again.

        Args:
            seen: the place before the order.
            order: gives it.
            told: what it changes.
            earlier: what was changed before it.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        try:
            order()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in BUSY and (code not in ABSENT or self.describe(seen.place).status is seen.status):
                raise
            return _changing(seen, earlier)
        return Step(settled=False, changes=(*earlier, *told), problem=seen.problem, failed=bool(seen.problem))


def _changing(now: Standing, changes: tuple[str, ...] = ()) -> Step:
    return Step(settled=False, changes=changes, problem=f"{now.place.key} is changing")


def _beyond_help(now: Standing) -> str:
    """Why only a person can bring this back, empty if it is not so: an endpoint's queue would go with the endpoint."""
    if now.status is StandStatus.ABSENT:
        return f"{now.place.key} does not exist any more"
    if now.status is StandStatus.FAILED and now.place.kind is PlaceKind.ASYNC:
        return now.problem or f"{now.place.key} has failed"
    return ""


def _same_count(one: VariantStanding, other: VariantStanding) -> bool:
    return (one.desired, one.weight) == (other.desired, other.weight)
