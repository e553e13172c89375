"""`sam deploy` of the real template to the emulator, and what the emulator does not take from a template."""

import asyncio
import io
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from local.launch.gateway_responses import apply_gateway_responses
from local.launch.layout import REGION, STACK_NAME, STAGE, Layout, architecture, tool_environment
from local.launch.processes import Children
from local.launch.sam_local import write_variables

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

ARTIFACTS_BUCKET = "tollgate-artifacts"
SAGEMAKER = frozenset({"sagemaker", "sagemaker-runtime"})
TTL_ATTRIBUTE = "ttl"
TABLE_OUTPUTS = ("JobsTableName", "CacheTableName", "LedgerTableName", "RegistryTableName")
# Seconds between two looks of `sam deploy` at the stack; its default is made for AWS.
POLL_SECONDS = "0.2"


def client(service: str, layout: Layout) -> Any:
    """A boto3 client of the local stack, whatever the user's own AWS settings are."""
    endpoint = layout.standin_url if service in SAGEMAKER else layout.emulator_url
    return boto3.client(  # type: ignore[call-overload]  # the service's name is chosen by the caller
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator takes any
        config=Config(
            connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 3}, s3={"addressing_style": "path"}
        ),
    )


def parameter_overrides(samconfig: Path) -> list[str]:
    """The template's parameters for the local stage: those of samconfig's `local`, this machine's processor on top."""
    overrides = {"Stage": STAGE}
    if samconfig.exists():
        local = tomllib.loads(samconfig.read_text()).get("local", {})
        given = local.get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
        words = given.split() if isinstance(given, str) else list(given)
        overrides |= dict(word.replace('"', "").split("=", 1) for word in words)
    overrides["Architecture"] = architecture()
    return [f"{name}={value}" for name, value in overrides.items()]


async def deploy(layout: Layout, children: Children, template: Path) -> dict[str, str]:
    """Deploys the built template and gives the stack's outputs.

    Raises:
        StepFailedError: `sam deploy` failed.
    """
    await asyncio.to_thread(_make_artifacts_bucket, layout)
    sentences = await asyncio.to_thread(_publish_sentences_layer, layout)
    command = [str(layout.root / ".venv" / "sam" / "bin" / "sam"), "deploy"]
    command += ["--template-file", str(template), "--stack-name", STACK_NAME, "--region", REGION]
    command += ["--s3-bucket", ARTIFACTS_BUCKET, "--no-confirm-changeset", "--no-progressbar"]
    command += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
    command += ["--parameter-overrides", *parameter_overrides(layout.root / "samconfig.toml")]
    command.append(f"SentencesLayerArn={sentences}")
    await children.run(
        "sam-deploy",
        command,
        {**tool_environment(layout), "SAM_CLI_POLL_DELAY": POLL_SECONDS},
        failure="`sam deploy` could not deploy the template to the emulator",
        advice="mend the resource that the log names; emulator.log in the same folder says what the emulator refused.",
    )
    return await asyncio.to_thread(_outputs, layout)


async def finish(layout: Layout, outputs: Mapping[str, str]) -> None:
    """Sets through the API what the emulator ignores in a template: time to live, and API Gateway's own error bodies.

    It also writes down the functions' variables, for `sam local invoke`.

    It ignores the bucket's lifecycle too, and that stays so: it would store the rules and never act on them.
    """
    await asyncio.gather(
        asyncio.to_thread(_set_time_to_live, client("dynamodb", layout), outputs),
        asyncio.to_thread(
            apply_gateway_responses,
            client("cloudformation", layout),
            client("apigateway", layout),
            stack_name=STACK_NAME,
            api_id=outputs["ApiId"],
            stage_name=outputs["StageName"],
        ),
        asyncio.to_thread(write_variables, layout, client("cloudformation", layout), client("lambda", layout)),
    )


def _make_artifacts_bucket(layout: Layout) -> None:
    s3: S3Client = client("s3", layout)
    s3.create_bucket(Bucket=ARTIFACTS_BUCKET)


def _publish_sentences_layer(layout: Layout) -> str:
    """The layer with the sentence model, which here only points to where the stand-in has it; gives its ARN."""
    packages = next((layout.root / ".venv" / "standin").glob("lib/python3*/site-packages"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("python/lib/python3.13/site-packages/standin.pth", f"{packages.resolve()}\n")
    lambdas: LambdaClient = client("lambda", layout)
    published = lambdas.publish_layer_version(LayerName="sentences", Content={"ZipFile": packed.getvalue()})
    return published["LayerVersionArn"]


def _outputs(layout: Layout) -> dict[str, str]:
    cloudformation: CloudFormationClient = client("cloudformation", layout)
    stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _set_time_to_live(dynamodb: "DynamoDBClient", outputs: Mapping[str, str]) -> None:
    for output in TABLE_OUTPUTS:
        table = outputs[output]
        state = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        if state.get("TimeToLiveStatus") != "ENABLED":
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
            )
