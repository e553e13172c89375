"""`tollgate calibrate` against a live endpoint of the stand-in."""

import json

import pytest

from cli.calibrate import measure
from cli.main import main
from tests.integration.sagemaker_standin.conftest import World
from tollgate.domain.catalogue import Timing

pytestmark = pytest.mark.integration


def test_the_command_measures_an_endpoint(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It calls the endpoint by its name and prints timing, places and throughput."""
    endpoint = world.endpoint(world.model())
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", world.runtime.meta.endpoint_url)
    for name, value in (
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ):
        monkeypatch.setenv(name, value)
    assert main(["calibrate", endpoint, "--rounds", "1", "--most-at-once", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["concurrency"] in {1, 2}
    assert found["base_seconds"] > 0
    assert found["requests"] >= 9
    assert main(["calibrate", "no-such-endpoint", "--rounds", "1"]) == 2
    assert "no-such-endpoint" in capsys.readouterr().err


def test_two_workers_are_two_places(world: World) -> None:
    """An endpoint that takes two fifths of a second for two requests at a time has two places, and no less time."""
    endpoint = world.endpoint(world.model(SAGEMAKER_MODEL_SERVER_WORKERS="2"))

    def invoke(body: bytes) -> bytes:
        document = json.loads(body)
        document["messages"][0]["content"] += " _sleep=0.4"
        return bytes(world.invoke(endpoint, json.dumps(document))["Body"])

    found = measure(invoke, "messages", 1, 8)
    assert found["concurrency"] == 2, found["requests_per_second"]
    # Noise of a busy machine is shared out to all three figures.
    rates = found["seconds_per_input_token"], found["seconds_per_output_token"]
    held = Timing(found["base_seconds"], *rates, 16).expected_seconds(64, 16)
    assert 0.35 < held < 4
