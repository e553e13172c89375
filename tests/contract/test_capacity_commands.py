"""`tollgate endpoints`, `sleep`, `wake`, `rightsize` and `orphans` against moto."""

import argparse
import json
from copy import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from cli import brake, endpoints, orphans, rightsize
from cli.main import main
from cli.stack import Stack, StackError
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.function_events import FunctionEventsServer
from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, sleepy_catalogue
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CatalogueError
from tollgate.domain.places.orphans import OrphanKind
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.rightsizing import Resource
from tollgate.domain.places.sleeping import Phase

NOW = datetime.now(UTC)


@pytest.fixture
def stack(aws: LocalAws) -> Stack:
    """A stack whose catalogue has one real-time road, and whose endpoint stands."""
    _apply(aws, sleepy_catalogue(POLICY, InferenceType.REALTIME), 1)
    outputs = {"RegistryTableName": REGISTRY_TABLE, "CapacityFunctionName": "tollgate-capacity"}
    made = Stack("tollgate", "us-east-1", outputs, "arm64")
    made.__dict__["tables"] = aws.dynamodb
    _endpoint(aws, REALTIME.name)
    return made


def _apply(aws: LocalAws, catalogue: Catalogue, version: int) -> None:
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(replace(catalogue, version=version), now=NOW)
    writer.point_to(version, expected=version - 1)


def _endpoint(aws: LocalAws, name: str, *, stack: str = "tollgate", instance_type: str = "ml.m5.large") -> None:
    sagemaker = aws.boto3_client("sagemaker")
    existing = {e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"]}
    if name in existing:
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
    else:
        role = "arn:aws:iam::123456789012:role/any"
        sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "i"}, ExecutionRoleArn=role)
    variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 2, "InstanceType": instance_type}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    tags = [{"Key": "tollgate:stack", "Value": stack}]
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)


def _arguments(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"deployment": "echo/small", "road": None, "json": True, "history": True} | values)


def test_endpoints_are_listed_with_their_cost(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, counts and dollars an hour, as JSON and as a table with the history."""
    assert endpoints.show(stack, _arguments()) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["place"], row["status"], row["usd_per_hour"]) == (REALTIME.key, "up", "0.230")
    assert row["deployments"] == ["echo/small"]
    assert endpoints.show(stack, _arguments(json=False)) == 0
    assert "realtime" in capsys.readouterr().out


def test_sleep_writes_the_record_and_tells_routing(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """As the keeper would: falling asleep with how it stood; said twice it is already on its way."""
    assert endpoints.sleep(stack, _arguments()) == 0
    record = RegistryPlaces(stack.tables, stack.registry).get(REALTIME)
    assert record is not None
    assert (record.phase, record.history[-1].reason) == (Phase.FALLING_ASLEEP, "tollgate sleep")
    assert record.before is not None
    assert record.before.current == 2
    endpoints.sleep(stack, _arguments())
    assert "falling_asleep already" in capsys.readouterr().out


def test_sleep_refuses_what_nobody_would_wake(stack: Stack, aws: LocalAws) -> None:
    """Without a policy, while it is held, for a deployment that does not exist or has no endpoint on that road."""
    with pytest.raises(StackError, match="MODEL/DEPLOYMENT"):
        endpoints.sleep(stack, _arguments(deployment="echo"))
    with pytest.raises(StackError, match="no such endpoint"):
        endpoints.sleep(stack, _arguments(road="async"))
    RegistryPlaces(stack.tables, stack.registry).hold(REALTIME, "the brake", NOW)
    with pytest.raises(StackError, match="held by the brake"):
        endpoints.sleep(stack, _arguments())
    _apply(aws, sleepy_catalogue(None, InferenceType.REALTIME), 2)
    with pytest.raises(StackError, match="no sleep policy"):
        endpoints.sleep(stack, _arguments())


def test_wake_sends_what_a_request_would(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event for the capacity function, whose name is the stack's output."""
    events = FunctionEventsServer()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", events.url)
    endpoints.sleep(stack, _arguments())
    assert endpoints.wake(stack, _arguments()) == 0
    assert events.take("tollgate-capacity") == [{"kind": "wake", "place": REALTIME.key}]
    events.stop()


@pytest.mark.parametrize(
    ("phase", "told"), [(None, "never put to sleep"), (Phase.AWAKE, "awake already"), (Phase.WAKING, "waking already")]
)
def test_what_does_not_sleep_is_not_woken(
    stack: Stack, phase: Phase | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and no event is sent: there is nobody to send one to."""
    if phase is not None:
        assert RegistryPlaces(stack.tables, stack.registry).write(PlaceRecord(REALTIME, phase, NOW))
    assert endpoints.wake(stack, _arguments()) == 0
    assert told in capsys.readouterr().out


def test_what_is_held_down_is_not_woken(stack: Stack) -> None:
    """The capacity function would leave it down; whoever holds it has to let go."""
    RegistryPlaces(stack.tables, stack.registry).hold(REALTIME, "the brake", NOW)
    with pytest.raises(StackError, match="held by the brake"):
        endpoints.wake(stack, _arguments())


def test_a_narrow_terminal_shows_what_happens_next(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whole words, beside what stands now."""
    monkeypatch.setattr(endpoints, "new_console", lambda: Console(width=80))
    for told in ("sleeps after 30 min without a call", "asleep in some minutes: going down since"):
        assert endpoints.show(stack, _arguments(json=False, history=False)) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line) <= 80 for line in lines)
        (column,) = [line.index("what happens") for line in lines if "what happens" in line]
        words = " ".join(line[column:] for line in lines)
        assert told in " ".join(words.split())
        endpoints.sleep(stack, _arguments())
        capsys.readouterr()


def test_a_place_without_a_history_says_so(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing at all would look like an option that was not heard."""
    assert endpoints.show(stack, _arguments(json=False)) == 0
    assert "no history" in capsys.readouterr().out
    endpoints.sleep(stack, _arguments())
    endpoints.show(stack, _arguments(json=False))
    assert "no history" not in capsys.readouterr().out


def test_rightsize_reads_the_week_and_prints_a_plot(
    stack: Stack, aws: LocalAws, capsys: pytest.CaptureFixture[str]
) -> None:
    """30 hours at 40 % of two processors (20 % each) are advised on from CloudWatch's own numbers."""
    dimensions = [{"Name": "EndpointName", "Value": REALTIME.name}, {"Name": "VariantName", "Value": "main"}]
    cloudwatch = aws.boto3_client("cloudwatch")
    data = [
        {"MetricName": "CPUUtilization", "Dimensions": dimensions, "Timestamp": NOW - timedelta(hours=h), "Value": 40.0}
        for h in range(1, 31)
    ]
    cloudwatch.put_metric_data(Namespace="/aws/sagemaker/Endpoints", MetricData=data)
    [usage] = rightsize.sizing(stack).run().usages
    assert usage.mean(Resource.CPU) == pytest.approx(20.0)
    assert (usage.instance_type, usage.instances) == ("ml.m5.large", 2)
    assert rightsize.rightsize(stack, _arguments()) == 0
    [advice] = json.loads(capsys.readouterr().out)
    assert advice["rule"].startswith("cpu 20 % on average, under 40 %")
    stored = RegistryRecommendations(stack.tables, stack.registry).latest()
    assert stored is not None
    assert stored["data"] == [advice]
    assert rightsize.rightsize(stack, _arguments(json=False)) == 0
    printed = capsys.readouterr().out
    assert "▂▂" in printed
    assert f"{REALTIME.name}: cpu 20 % on average, under 40 %" in printed


def test_rightsize_fits_a_narrow_terminal_and_says_a_shared_reason_once(
    stack: Stack, aws: LocalAws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two endpoints without a week behind them: one line for both, types in one piece, no saving of nothing."""
    _apply(aws, sleepy_catalogue(POLICY), 2)
    _endpoint(aws, ASYNC.name)
    monkeypatch.setattr(rightsize, "new_console", lambda: Console(width=80))
    assert rightsize.rightsize(stack, _arguments(json=False)) == 0
    aws.boto3_client("sagemaker").delete_endpoint(EndpointName=ASYNC.name)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "ml.m5.large" in line and "keep" in line]) == 2
    assert len([line for line in lines if "fewer than 24 measured hours" in line]) == 1
    assert "saves $" not in lines[-1]


def test_orphans_are_reported_and_stopped_only_when_named(
    stack: Stack, aws: LocalAws, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forgotten endpoint and a notebook of this stack; not the one in the catalogue, nor another stack's."""
    _endpoint(aws, "tollgate-forgotten", instance_type="ml.m5.xlarge")
    _endpoint(aws, "other-teams", stack="other")
    sagemaker = aws.boto3_client("sagemaker")
    sagemaker.create_notebook_instance(
        NotebookInstanceName="notes",
        InstanceType="ml.t3.medium",
        RoleArn="arn:aws:iam::123456789012:role/any",
        Tags=[{"Key": "tollgate:stack", "Value": "tollgate"}],
    )
    found = {o.running.name: o for o in orphans.find(stack, sagemaker, NOW)}
    assert set(found) == {"tollgate-forgotten", "notes"}
    assert found["notes"].running.kind is OrphanKind.NOTEBOOK
    price = snapshot_book().instance_hour("us-east-1", "ml.m5.xlarge")
    assert price is not None
    assert found["tollgate-forgotten"].daily_cost == price.usd * 48
    with pytest.raises(StackError, match=REALTIME.name):
        orphans.report(stack, argparse.Namespace(stop=[REALTIME.name]))
    assert orphans.report(stack, argparse.Namespace(stop=[])) == 1
    assert "2 run for nobody" in capsys.readouterr().out
    assert orphans.report(stack, argparse.Namespace(stop=["tollgate-forgotten", "notes"])) == 0
    left = {e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"]}
    assert left >= {REALTIME.name, "other-teams"}
    assert "tollgate-forgotten" not in left
    assert orphans.find(stack, sagemaker, NOW) == ()
    capsys.readouterr()
    assert orphans.report(stack, argparse.Namespace(stop=[])) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("No orphans")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("words", [["resume"], ["brake", "resume"]])
def test_a_resume_has_two_names(words: list[str]) -> None:
    """Both give the same order to the function that works the brakes."""
    parser = argparse.ArgumentParser()
    brake.add_parser(parser.add_subparsers())
    assert parser.parse_args(words).run is brake.resume_all


def test_a_brake_needs_its_section(stack: Stack) -> None:
    """A catalogue without brakes has nothing to set; the operator hears it before anything is called."""
    with pytest.raises(CatalogueError, match=r"has no \[brakes\]"):
        brake.set_level(stack, argparse.Namespace(level="stop", reason="", until=None))


def test_the_commands_are_declared(capsys: pytest.CaptureFixture[str]) -> None:
    """They are found under their names."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("endpoints", "sleep", "wake", "rightsize", "orphans", "resume"))
