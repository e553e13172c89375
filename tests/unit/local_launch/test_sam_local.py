"""How one function finds the running stack under `sam local invoke`, and what its sample says there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from local.launch import sam_local
from local.launch.errors import LaunchError, StepFailedError
from local.launch.invoke import filled, sample_event
from local.launch.layout import ROOT, TENANT, Layout

BUILT = """\
Globals:
  Function:
    Environment:
      Variables:
        STAGE: local
        POWERTOOLS_SERVICE_NAME: tollgate
Resources: {}
"""


def test_the_second_template_declares_the_endpoints_and_changes_nothing_else(tmp_path: Path) -> None:
    """SAM passes on no variable that a template does not declare."""
    (tmp_path / "template.yaml").write_text(BUILT)
    written = sam_local.declare(tmp_path).read_text().splitlines()
    added = [line for line in written if line not in BUILT.splitlines()]
    assert [line for line in written if line not in added] == BUILT.splitlines()
    assert "        AWS_ENDPOINT_URL: ''" in added
    assert {line.partition(":")[0].strip() for line in added} == set(sam_local.endpoints(Layout(tmp_path, 5000)))


def test_a_template_without_a_place_for_them_is_an_error(tmp_path: Path) -> None:
    """Rather than a function that looks for AWS itself."""
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    with pytest.raises(StepFailedError, match="declares no variables"):
        sam_local.declare(tmp_path)


def test_the_repositorys_template_has_the_place(tmp_path: Path) -> None:
    """What `sam build` makes of it keeps the line."""
    (tmp_path / "template.yaml").write_text((ROOT / "template.yaml").read_text())
    assert "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME: ''" in sam_local.declare(tmp_path).read_text()


class TwoFunctions:
    """Both clients, with two functions and a table."""

    def get_paginator(self, name: str) -> Any:
        assert name == "list_stack_resources"
        resources = [
            ("GatewayFunction", "tollgate-gateway", "AWS::Lambda::Function"),
            ("JobsTable", "jobs", "AWS::DynamoDB::Table"),
            ("JobsFunction", "tollgate-jobs", "AWS::Lambda::Function"),
        ]
        names = ("LogicalResourceId", "PhysicalResourceId", "ResourceType")
        page = {"StackResourceSummaries": [dict(zip(names, resource, strict=True)) for resource in resources]}
        return SimpleNamespace(paginate=lambda **_: [page])

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803 -- boto3's own spelling
        return {"Environment": {"Variables": {"NAME": FunctionName, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}}}


def test_each_function_gets_its_own_variables_and_the_stacks_endpoints(tmp_path: Path) -> None:
    """By logical id, which is what a person types; a container cannot use 127.0.0.1."""
    layout = Layout(tmp_path, 5000)
    layout.state.mkdir(parents=True)
    client = cast("Any", TwoFunctions())
    sam_local.write_variables(layout, client, client)
    written = json.loads(layout.sam_variables_file.read_text())
    assert set(written) == {"GatewayFunction", "JobsFunction", "StreamingFunction"}
    assert written["StreamingFunction"] == written["GatewayFunction"]  # the emulator does not deploy it
    assert written["GatewayFunction"]["NAME"] == "tollgate-gateway"
    assert written["GatewayFunction"]["AWS_ENDPOINT_URL"] == "http://host.docker.internal:5001"
    assert written["JobsFunction"]["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == "http://host.docker.internal:5002"


@pytest.mark.parametrize(
    ("function", "event", "job"),
    [
        ("jobs", "get", "inf_01m80mcjdjxgjbma0h33zr737c"),
        ("async_completion", "success", "inf_01m80mcjdjxgjbma0h33zr737c"),
        ("batch_completion", "completed", "tollgate-drop-b730ff11"),
    ],
)
def test_a_real_job_takes_the_place_of_the_samples(function: str, event: str, job: str) -> None:
    """Everywhere in the event, which stays JSON."""
    text = sample_event(ROOT, function, event)
    real = filled(text, key="tg_k", bucket="b", job=job)
    assert job in real
    assert "01kb3x" not in real.replace("key_01kb3x", "")
    assert json.loads(real).keys() == json.loads(text).keys()


@pytest.mark.parametrize("event", ["response", "response_cancel"])
def test_a_response_has_the_id_of_its_job(event: str) -> None:
    """With another beginning, in the path and in its parameter."""
    real = json.loads(filled(sample_event(ROOT, "jobs", event), key="tg_k", bucket="b", job="inf_01m80mcjd"))
    assert real["pathParameters"] == {"id": "resp_01m80mcjd"}
    assert "/resp_01m80mcjd" in real["path"]


def test_the_samples_tenant_becomes_that_of_the_stacks_key() -> None:
    """So that jobs which were asked for over HTTP are found by the samples."""
    real = filled(sample_event(ROOT, "jobs", "get"), key="tg_k", bucket="b", job=None)
    assert json.loads(real)["requestContext"]["authorizer"]["tenant"] == TENANT


def test_the_samples_key_and_bucket_become_the_stacks() -> None:
    """So the authorizer lets the sample in, and the bucket is one that is there."""
    real = filled(sample_event(ROOT, "authorizer", "bearer"), key="tg_real", bucket="b", job=None)
    assert json.loads(real)["headers"]["Authorization"] == "Bearer tg_real"
    dropped = filled(
        sample_event(ROOT, "batch_dispatch", "file_dropped"), key="tg_real", bucket="real-bucket", job=None
    )
    message = json.loads(json.loads(dropped)["Records"][0]["Sns"]["Message"])
    assert message["Records"][0]["s3"]["bucket"]["name"] == "real-bucket"


@pytest.mark.parametrize("job", ["x", 'inf_"', "tollgate-\\"])
def test_a_job_that_is_none_is_refused(job: str) -> None:
    """It would be put into the event's JSON as it is."""
    with pytest.raises(LaunchError, match="not the id"):
        filled("{}", key="k", bucket="b", job=job)


def test_an_unknown_sample_is_answered_with_the_known() -> None:
    """The message is a list to copy from."""
    with pytest.raises(LaunchError, match="FUNCTION=gateway EVENT=inference_high"):
        sample_event(ROOT, "gateway", "nope")
