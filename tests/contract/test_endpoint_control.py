"""One suite for whatever takes places down and puts them back: the fake, and SageMaker's adapter on the stand-in."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.fakes.endpoints import FakeEndpoints
from tests.integration.sagemaker_standin.process import REGION, StandIn, client
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    Step,
    VariantStanding,
)
from tollgate.ports.endpoints import EndpointControl

_TRACKING = (
    '{"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"},'
    '"ScaleInCooldown":300,"ScaleOutCooldown":60,"TargetValue":500.0}'
)
_POLICY = ScalingPolicy("follow", "TargetTrackingScaling", _TRACKING)
_VARIANT = "sagemaker:variant:DesiredInstanceCount"
_COPIES = "sagemaker:inference-component:DesiredCopyCount"


class World(Protocol):
    """Where places are."""

    @property
    def control(self) -> EndpointControl:
        """What is tested."""

    def make(self, kind: PlaceKind, instances: int, bounds: tuple[int, int] | None) -> Place:
        """A place that is up, with a scaling target and its policy where there are bounds."""

    def finish(self, place: Place) -> None:
        """Let a change under way end."""

    def fail_next_start(self) -> None:
        """Let the next instances that should start not come."""


@dataclass
class FakeWorld:
    """The fake."""

    control: FakeEndpoints

    def make(self, kind: PlaceKind, instances: int, bounds: tuple[int, int] | None) -> Place:
        place = Place(kind, f"e-{uuid.uuid4().hex[:8]}")
        component = kind is PlaceKind.COMPONENT
        name = "copies" if component else "main"
        resource = f"inference-component/{place.name}" if component else f"endpoint/{place.name}/variant/main"
        targets = (
            ()
            if bounds is None
            else (ScalingTarget(resource, _COPIES if component else _VARIANT, *bounds, policies=(_POLICY,)),)
        )
        self.control.put(
            Standing(
                place,
                StandStatus.UP,
                configuration=None if component else place.name,
                variants=(VariantStanding(name, instances, instances),),
                scaling=targets,
                tags=(("team", "a"),) if kind is PlaceKind.REALTIME else (),
            )
        )
        return place

    def finish(self, place: Place) -> None:
        del place
        self.control.settle()

    def fail_next_start(self) -> None:
        self.control.failing.append("no capacity")


class StandInWorld:
    """SageMaker's adapter, boto3, HTTP, the stand-in."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin
        self._sagemaker = client("sagemaker", standin.url)
        self._scaling = client("application-autoscaling", standin.url)
        self.control: EndpointControl = SageMakerControl()

    def close(self) -> None:
        self._sagemaker.close()
        self._scaling.close()

    def make(self, kind: PlaceKind, instances: int, bounds: tuple[int, int] | None) -> Place:
        name = f"e-{uuid.uuid4().hex[:8]}"
        container = {"Image": "tollgate/echo", "Environment": {"STANDIN_START_SECONDS": "0.2"}}
        role = "arn:aws:iam::000000000000:role/any"
        self._sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        variant = {"VariantName": "main", "InstanceType": "ml.m5.large", "InitialInstanceCount": instances}
        if kind is not PlaceKind.COMPONENT:
            variant["ModelName"] = name
        config: dict[str, Any] = {"EndpointConfigName": name, "ProductionVariants": [variant]}
        if kind is PlaceKind.ASYNC:
            config["AsyncInferenceConfig"] = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
        self._sagemaker.create_endpoint_config(**config)
        tags = [{"Key": "team", "Value": "a"}] if kind is PlaceKind.REALTIME else []
        self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
        self._wait_for_endpoint(name)
        place = Place(kind, name)
        if kind is PlaceKind.COMPONENT:
            self._sagemaker.create_inference_component(
                InferenceComponentName=name,
                EndpointName=name,
                VariantName="main",
                Specification={"ModelName": name},
                RuntimeConfig={"CopyCount": instances},
            )
        self.finish(place)
        if bounds is not None:
            component = kind is PlaceKind.COMPONENT
            common = {
                "ServiceNamespace": "sagemaker",
                "ResourceId": f"inference-component/{name}" if component else f"endpoint/{name}/variant/main",
                "ScalableDimension": _COPIES if component else _VARIANT,
            }
            self._scaling.register_scalable_target(MinCapacity=bounds[0], MaxCapacity=bounds[1], **common)
            self._scaling.put_scaling_policy(
                PolicyName="follow",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": 500.0,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                    "ScaleInCooldown": 300,
                    "ScaleOutCooldown": 60,
                },
                **common,
            )
        return place

    def _wait_for_endpoint(self, name: str) -> None:
        self._until(lambda: self._sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")

    def finish(self, place: Place) -> None:
        self._until(lambda: self.control.describe(place).status is not StandStatus.CHANGING)

    def fail_next_start(self) -> None:
        self._standin.break_(op="start", kind="capacity")

    @staticmethod
    def _until(happened: Any) -> None:
        end = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < end, "It did not happen in time"
            time.sleep(0.03)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder: Path = tmp_path_factory.mktemp("standin")
    file = folder / "standin.toml"
    file.write_text('prefix = "t"\n[start_seconds]\ndefault = 0.2\n')
    standin = StandIn(folder, "http://127.0.0.1:9", file)
    standin.admin("PUT", "config", {"metrics_seconds": 0})
    yield standin
    standin.stop()


@pytest.fixture(params=["fake", "sagemaker"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld(FakeEndpoints())
        return
    standin: StandIn = request.getfixturevalue("standin")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": standin.url,
    }.items():
        monkeypatch.setenv(name, value)
    standin.admin("DELETE", "faults")
    world = StandInWorld(standin)
    yield world
    world.close()


def _until_settled(world: World, place: Place, step: Any) -> list[Step]:
    """Repeat the call until it is settled, letting each change end."""
    steps = []
    for _ in range(8):
        steps.append(step())
        if steps[-1].settled:
            return steps
        world.finish(place)
    raise AssertionError(f"Never settled: {steps}")


_KINDS = [PlaceKind.REALTIME, PlaceKind.ASYNC, PlaceKind.COMPONENT]


def test_what_does_not_exist_is_absent_and_needs_nothing(world: World) -> None:
    """An endpoint nobody made is absent, and neither goes down nor comes up."""
    for kind in _KINDS:
        before = world.control.describe(Place(kind, "e-nobody-made"))
        assert before.status is StandStatus.ABSENT
        assert world.control.take_down(before) == Step(settled=True)
        assert world.control.bring_up(before) == Step(settled=True)


@pytest.mark.parametrize("kind", _KINDS)
def test_down_and_up_again_is_exactly_what_it_was(world: World, kind: PlaceKind) -> None:
    """Down means that nothing runs; brought up, the standing equals the one before, member for member."""
    place = world.make(kind, 2, (2, 8))
    before = world.control.describe(place)
    assert (before.status, before.current, before.desired) == (StandStatus.UP, 2, 2)
    steps = _until_settled(world, place, lambda: world.control.take_down(before))
    assert steps[0].changes
    down = world.control.describe(place)
    assert down.status in {StandStatus.DOWN, StandStatus.ABSENT}
    assert down.current == 0
    _until_settled(world, place, lambda: world.control.bring_up(before))
    assert world.control.describe(place) == before


@pytest.mark.parametrize("kind", _KINDS)
def test_every_order_is_idempotent(world: World, kind: PlaceKind) -> None:
    """Once settled, the same call again settles at once and changes nothing."""
    place = world.make(kind, 1, (1, 4))
    before = world.control.describe(place)
    _until_settled(world, place, lambda: world.control.take_down(before))
    again = world.control.take_down(before)
    assert (again.settled, again.changes) == (True, ())
    _until_settled(world, place, lambda: world.control.bring_up(before))
    again = world.control.bring_up(before)
    assert (again.settled, again.changes) == (True, ())


@pytest.mark.parametrize("kind", [PlaceKind.ASYNC, PlaceKind.COMPONENT])
def test_pinned_targets_leave_autoscaling_no_way_up(world: World, kind: PlaceKind) -> None:
    """A pinned target is 0..0 with its policies kept; an unpinned one keeps its upper bound."""
    place = world.make(kind, 1, (1, 4))
    before = world.control.describe(place)
    _until_settled(world, place, lambda: world.control.take_down(before, pinned=False))
    [loose] = world.control.describe(place).scaling
    assert (loose.minimum, loose.maximum) == (0, 4)
    _until_settled(world, place, lambda: world.control.take_down(before, pinned=True))
    [pinned] = world.control.describe(place).scaling
    assert (pinned.minimum, pinned.maximum, pinned.policies) == (0, 0, (_POLICY,))


def test_an_endpoint_that_did_not_start_is_made_again(world: World) -> None:
    """The failed creation is told, cleared away, and the next one brings back what was there."""
    place = world.make(PlaceKind.REALTIME, 2, None)
    before = world.control.describe(place)
    _until_settled(world, place, lambda: world.control.take_down(before))
    world.fail_next_start()
    assert not world.control.bring_up(before).settled
    world.finish(place)
    failed = world.control.describe(place)
    assert failed.status is StandStatus.FAILED
    assert failed.problem
    told = world.control.bring_up(before)
    assert told.problem == failed.problem
    assert told.failed
    world.finish(place)
    _until_settled(world, place, lambda: world.control.bring_up(before))
    assert world.control.describe(place) == before


@pytest.mark.parametrize("kind", [PlaceKind.ASYNC, PlaceKind.COMPONENT])
def test_a_scale_up_without_capacity_is_asked_for_again(world: World, kind: PlaceKind) -> None:
    """Instances or copies that do not come leave it at 0 with a reason; the next call asks again and gets them.

    An endpoint falls back to the counts it had, a component keeps the wanted count and has failed.
    """
    place = world.make(kind, 1, None)
    before = world.control.describe(place)
    _until_settled(world, place, lambda: world.control.take_down(before))
    world.fail_next_start()
    world.control.bring_up(before)
    world.finish(place)
    assert world.control.describe(place).current == 0
    assert world.control.bring_up(before).failed
    world.finish(place)
    assert world.control.bring_up(before).settled
    assert world.control.describe(place) == before


@pytest.mark.parametrize("kind", _KINDS)
def test_nothing_is_ordered_from_a_place_that_is_changing(world: World, kind: PlaceKind) -> None:
    """In the middle of a change the step is unsettled, says so, and changes no counts."""
    place = world.make(kind, 1, None)
    before = world.control.describe(place)
    _until_settled(world, place, lambda: world.control.take_down(before))
    world.control.bring_up(before)
    for order in (world.control.take_down, world.control.bring_up):
        step = order(before)
        assert (step.settled, step.changes) == (False, ())
        assert "changing" in step.problem
