"""The control adapter against botocore's own shapes: jobs, tags, errors; and a standing's way through JSON."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from tollgate.adapters.documents.standing import standing_document, standing_from
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.errors import BackendError, BackendThrottledError, CapacityError
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
)

_THEN = datetime(2026, 11, 22, tzinfo=UTC)
_ARN = "arn:aws:sagemaker:us-east-1:123456789012:"
_ENDPOINT = Place(PlaceKind.REALTIME, "t-echo-realtime")
_JOBS = Place(PlaceKind.BATCH, "t-echo")


class Clients:
    """boto3 clients that answer from a script and check every request and answer against the service model."""

    def __init__(self) -> None:
        self._clients = {
            service: boto3.client(
                service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
            )
            for service in ("sagemaker", "application-autoscaling")
        }
        self._stubs = {service: Stubber(found) for service, found in self._clients.items()}
        for stub in self._stubs.values():
            stub.activate()
        self.sagemaker = self._stubs["sagemaker"]
        self.scaling = self._stubs["application-autoscaling"]

    def __call__(self, service: str) -> Any:
        return self._clients[service]

    def done(self) -> None:
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()
        for found in self._clients.values():
            found.close()


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.done()


def _endpoint(status: str = "InService", **more: Any) -> dict[str, Any]:
    return {
        "EndpointName": _ENDPOINT.name,
        "EndpointArn": f"{_ARN}endpoint/{_ENDPOINT.name}",
        "EndpointConfigName": "config",
        "EndpointStatus": status,
        "CreationTime": _THEN,
        "LastModifiedTime": _THEN,
        **more,
    }


def _listing(*names: str) -> dict[str, Any]:
    jobs = [
        {
            "TransformJobName": name,
            "TransformJobArn": f"{_ARN}transform-job/{name}",
            "CreationTime": _THEN,
            "TransformJobStatus": "InProgress",
        }
        for name in names
    ]
    return {"TransformJobSummaries": jobs}


def _job(name: str, model: str) -> dict[str, Any]:
    return {
        "TransformJobName": name,
        "TransformJobArn": f"{_ARN}transform-job/{name}",
        "TransformJobStatus": "InProgress",
        "ModelName": model,
        "CreationTime": _THEN,
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


_ASKED = {"StatusEquals": "InProgress", "NameContains": "tollgate-"}


def _expect_jobs(clients: Clients) -> None:
    listed = _listing("tollgate-b", "tollgate-a", "tollgate-c", "not-tollgate-d")
    clients.sagemaker.add_response("list_transform_jobs", listed, _ASKED)
    for name, model in (("tollgate-b", "t-echo"), ("tollgate-a", "t-echo"), ("tollgate-c", "another-model")):
        clients.sagemaker.add_response("describe_transform_job", _job(name, model), {"TransformJobName": name})


def test_only_the_models_own_transform_jobs_are_stopped(clients: Clients) -> None:
    """Two of four running jobs run our model; those are stopped, and one that ended by itself is no error.

    The fourth is none of ours: to describe it would be refused, and the brakes would fail with it.
    """
    control = SageMakerControl(clients)
    _expect_jobs(clients)
    before = control.describe(_JOBS)
    assert (before.status, before.jobs, before.current) == (StandStatus.UP, ("tollgate-a", "tollgate-b"), 2)
    _expect_jobs(clients)
    clients.sagemaker.add_response("stop_transform_job", {}, {"TransformJobName": "tollgate-a"})
    clients.sagemaker.add_client_error("stop_transform_job", "ValidationException", http_status_code=400)
    step = control.take_down(before)
    assert (step.settled, len(step.changes)) == (False, 2)
    clients.sagemaker.add_response("list_transform_jobs", _listing(), _ASKED)
    assert control.take_down(before).settled
    assert control.bring_up(before).settled


def test_tags_that_aws_sets_itself_are_not_kept(clients: Clients) -> None:
    """An endpoint made by CloudFormation is made again with its own tags only: nobody may set `aws:` ones."""
    control = SageMakerControl(clients)
    tags = [
        {"Key": "aws:cloudformation:stack-name", "Value": "s"},
        {"Key": "team", "Value": "a"},
        {"Key": "InferenceType", "Value": "realtime"},
    ]
    clients.sagemaker.add_response("describe_endpoint", _endpoint(), {"EndpointName": _ENDPOINT.name})
    clients.sagemaker.add_response("list_tags", {"Tags": tags}, {"ResourceArn": f"{_ARN}endpoint/{_ENDPOINT.name}"})
    before = control.describe(_ENDPOINT)
    assert before.tags == (("InferenceType", "realtime"), ("team", "a"))
    clients.sagemaker.add_client_error("describe_endpoint", "ValidationException", http_status_code=400)
    created = {
        "EndpointName": _ENDPOINT.name,
        "EndpointConfigName": "config",
        "Tags": [{"Key": "InferenceType", "Value": "realtime"}, {"Key": "team", "Value": "a"}],
    }
    clients.sagemaker.add_response("create_endpoint", {"EndpointArn": f"{_ARN}endpoint/e"}, created)
    assert control.bring_up(before).changes


def test_an_order_that_somebody_else_gave_first_is_no_failure(clients: Clients) -> None:
    """A creation refused because the endpoint exists by now only means: look again later."""
    for call in ("describe_endpoint", "create_endpoint"):
        clients.sagemaker.add_client_error(call, "ValidationException", http_status_code=400)
    clients.sagemaker.add_response("describe_endpoint", _endpoint("Creating"))
    clients.sagemaker.add_response("list_tags", {"Tags": []})
    step = SageMakerControl(clients).bring_up(Standing(_ENDPOINT, StandStatus.UP, configuration="config"))
    assert (step.settled, step.changes) == (False, ())


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, BackendThrottledError),
        ("ResourceLimitExceeded", 400, CapacityError),
        ("InternalFailure", 500, CapacityError),
        ("AccessDeniedException", 403, BackendError),
    ],
)
def test_errors_say_whether_the_call_may_work_later(
    clients: Clients, code: str, status: int, expected: type[BackendError]
) -> None:
    """Throttles, limits and failures of AWS may pass; a missing permission will not."""
    clients.sagemaker.add_client_error("describe_endpoint", code, http_status_code=status)
    with pytest.raises(BackendError) as raised:
        SageMakerControl(clients).describe(_ENDPOINT)
    assert type(raised.value) is expected


def test_an_order_that_will_never_be_taken_is_refused(clients: Clients) -> None:
    """A creation refused while there is still no endpoint is a refusal, not something to wait for."""
    for call in ("describe_endpoint", "create_endpoint"):
        clients.sagemaker.add_client_error(call, "ValidationException", http_status_code=400)
    clients.sagemaker.add_client_error("describe_endpoint", "ValidationException", http_status_code=400)
    with pytest.raises(BackendError, match="refused"):
        SageMakerControl(clients).bring_up(Standing(_ENDPOINT, StandStatus.UP, configuration="gone"))


def test_a_network_failure_may_pass() -> None:
    """No connection to SageMaker is a lack of capacity: the same call may work later."""

    def unreachable(service: str) -> Any:
        raise EndpointConnectionError(endpoint_url=service)

    with pytest.raises(CapacityError):
        SageMakerControl(unreachable).describe(_ENDPOINT)


def test_a_standing_goes_through_json_unharmed() -> None:
    """What the record keeps is the standing itself, every member of it."""
    standing = Standing(
        Place(PlaceKind.ASYNC, "e"),
        StandStatus.UP,
        configuration="c",
        variants=(VariantStanding("main", 1, 2, 0.1), VariantStanding("other", 0, 0)),
        scaling=(
            ScalingTarget("r", "d", 0, 3, (True, False, True), (ScalingPolicy("p", "StepScaling", '{"Cooldown":3}'),)),
        ),
        tags=(("k", "v"),),
        jobs=("j",),
        problem="no",
    )
    assert standing_from(json.loads(json.dumps(standing_document(standing)))) == standing
