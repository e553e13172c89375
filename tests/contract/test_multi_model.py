"""Many models on one endpoint, end to end: catalogue, gateway function, the stand-in's multi-model endpoint, S3."""

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.gateway import app as gateway
from tests.contract.moto_stores import REGISTRY_TABLE, STORE_VARIABLES, LocalAws
from tests.fakes.gateway import proxy_event
from tests.integration.sagemaker_standin.process import StandIn, client, until
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.api.gateway_routes import GatewayApi

_BUCKET = "multi-model-artefacts"
_ENDPOINT = "tollgate-starter-multi"
_CATALOGUE = "".join(
    f"""
[models.{name}.deployments.shared]
tier = "small"
dialect = "inputs"
instance_type = "ml.c5.xlarge"
timing = {{ base_seconds = 0.01 }}
realtime = {{ endpoint = "{_ENDPOINT}", target_model = "{name}/v1/model.tar.gz" }}
"""
    for name in ("echo", "langid", "missing", "broken")
)


def _archive(document: Any) -> bytes:
    file, text = io.BytesIO(), json.dumps(document).encode()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("model.json")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file.getvalue()


@pytest.fixture
def api(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayApi]:
    """A gateway before a multi-model endpoint like the one in the template, with three archives under its prefix."""
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    catalogue = read_catalogue(_CATALOGUE, snapshot_book(), region="us-east-1", architecture="arm64", version=1)
    writer.store(catalogue, now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    config = tmp_path / "standin.toml"
    config.write_text("[start_seconds]\ndefault = 0.1\n")
    standin = StandIn(tmp_path, aws.url, config)
    s3 = aws.boto3_client("s3")
    s3.create_bucket(Bucket=_BUCKET)
    for name, body in {
        "echo": _archive({"image": "tollgate/echo"}),
        "langid": _archive({"image": "tollgate/langid"}),
        "broken": b"no archive",
    }.items():
        s3.put_object(Bucket=_BUCKET, Key=f"models/{name}/v1/model.tar.gz", Body=body)
    sagemaker = client("sagemaker", standin.url)
    container = {"Image": "tollgate/echo", "Mode": "MultiModel", "ModelDataUrl": f"s3://{_BUCKET}/models/"}
    sagemaker.create_model(ModelName=_ENDPOINT, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": _ENDPOINT, "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=_ENDPOINT, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=_ENDPOINT, EndpointConfigName=_ENDPOINT)
    until(lambda: sagemaker.describe_endpoint(EndpointName=_ENDPOINT)["EndpointStatus"] == "InService")
    environment = {
        **STORE_VARIABLES,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": standin.url,
        "ASYNC_QUEUE_URL": "http://127.0.0.1/none",
        "BATCH_QUEUE_URL": "http://127.0.0.1/none",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield gateway.build(gateway.GatewaySettings.load(environment))
    sagemaker.close()
    standin.stop()
    for listed in s3.list_objects_v2(Bucket=_BUCKET)["Contents"]:
        s3.delete_object(Bucket=_BUCKET, Key=listed["Key"])
    s3.delete_bucket(Bucket=_BUCKET)


def _infer(api: GatewayApi, model: str) -> tuple[int, Any]:
    body = {"model": model, "input": "Wo ist der Bahnhof?", "priority": "high"}
    answer = gateway.handle(proxy_event("POST /v1/inferences", json.dumps(body)), api)
    return answer["statusCode"], json.loads(answer["body"])


def test_each_deployment_is_answered_by_its_own_model(api: GatewayApi) -> None:
    """Two models of one endpoint, by the key of their archives: one turns the words round, the other knows German."""
    for _ in range(2):  # read from S3, and then from memory
        status, echoed = _infer(api, "echo")
        assert status == 200
        assert "Bahnhof? der ist Wo" in json.dumps(echoed["output"])
        status, known = _infer(api, "langid")
        assert status == 200
        assert '"label": "de"' in json.dumps(known["output"])
        assert known["deployment"] == "langid/shared"


@pytest.mark.parametrize(("model", "code"), [("missing", "backend_error"), ("broken", "model_error")])
def test_a_model_that_is_not_there_is_told(api: GatewayApi, model: str, code: str) -> None:
    """No archive under its key, or none that holds a model: a backend's or a model's error, and the others go on."""
    status, refused = _infer(api, model)
    assert (status, refused["error"]["code"]) == (502, code)
    assert _infer(api, "echo")[0] == 200
