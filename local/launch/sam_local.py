"""What `sam local invoke` needs to run one function against a running stack.

SAM hands a function only the variables that the template declares, and the endpoints of the local stack are in no
template that is deployed. So each build keeps a second template beside the first, the same but for the declaration of
those variables, and each stack writes their values.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from local.launch.errors import StepFailedError
from local.launch.layout import REGION, STACK_NAME, STAGE, Layout, architecture

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient

TEMPLATE = "sam-local.yaml"
# Docker Desktop knows this name by itself; elsewhere `--add-host` gives it to the container.
MACHINE = "host.docker.internal"
_DECLARED = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SAGEMAKER",
    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
_ANCHOR = re.compile(r"^( +)POWERTOOLS_SERVICE_NAME: .*$", re.MULTILINE)


def declare(build: Path) -> Path:
    """Writes the build's second template, whose functions declare the variables of the local endpoints.

    Raises:
        StepFailedError: the template's Globals have no such variables to stand beside.
    """
    text = (build / "template.yaml").read_text()
    found = _ANCHOR.search(text)
    if found is None:
        raise StepFailedError(
            "The built template declares no variables for all functions.",
            advice="keep POWERTOOLS_SERVICE_NAME under Globals in template.yaml.",
        )
    lines = "".join(f"{found.group(1)}{name}: ''\n" for name in _DECLARED)
    path = build / TEMPLATE
    path.write_text(text[: found.start()] + lines + text[found.start() :])
    return path


def endpoints(layout: Layout) -> dict[str, str]:
    """The values of the declared variables, as a container on this machine sees the stack."""
    emulator, standin = (f"http://{MACHINE}:{port}" for port in (layout.emulator_port, layout.standin_port))
    return dict(zip(_DECLARED, (emulator, *[standin] * 4, "test", "test", REGION, REGION), strict=True))


def write_variables(layout: Layout, cloudformation: CloudFormationClient, lambda_: LambdaClient) -> None:
    """Writes the file for `--env-vars`: for each function, by logical id, what the deployed one has, and the endpoints.

    It holds names and addresses and the emulator's made-up credentials, no secret.
    """
    everywhere = endpoints(layout)
    variables = {
        logical_id: {**lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"], **everywhere}
        for logical_id, name in sorted(_functions(cloudformation))
    }
    if gateway := variables.get("GatewayFunction"):
        # Deployed only where answers are streamed, which the emulator cannot do; it reads what the gateway reads.
        variables.setdefault("StreamingFunction", gateway)
    layout.sam_variables_file.write_text(json.dumps(variables, indent=1))


def _functions(cloudformation: CloudFormationClient) -> Iterator[tuple[str, str]]:
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == "AWS::Lambda::Function":
                yield resource["LogicalResourceId"], resource["PhysicalResourceId"]


def command(layout: Layout, build: Path, *arguments: str) -> list[str]:
    """`sam local ARGUMENTS` with everything that leads the container to the running stack."""
    return [
        str(layout.root / ".venv" / "sam" / "bin" / "sam"),
        "local",
        *arguments,
        *("--template", str(build / TEMPLATE)),
        *("--env-vars", str(layout.sam_variables_file)),
        *("--parameter-overrides", f"Stage={STAGE} Architecture={architecture()}"),
        *("--add-host", f"{MACHINE}:host-gateway"),
        "--skip-pull-image",
    ]


def sam_environment(layout: Layout) -> Mapping[str, str]:
    """The user's environment, for `DOCKER_HOST` and the like, without AWS settings that SAM would pass on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_CLI_"))}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(layout.root / ".local" / "sam" / "cli"),
    }
