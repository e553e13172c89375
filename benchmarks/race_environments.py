"""As many execution environments of the deployed gateway as a race needs, on the local stack.

The emulator starts a process for each environment and unpacks the function and its layer for it, 60 MB in memory; two
hundred of those fit in no PC. So the race has a version of the function of its own: the same code, with the layer read
from the one folder in which the build left it. It is started before the race, as `tollgate-gateway:live`, and taken
away after it. The authorizer's answer is remembered by the emulated API meanwhile: two hundred environments of the
authorizer would add nothing to a race for a budget.
"""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.launch import build, deploy, layer
from local.launch.layout import REGION, STACK_NAME, Layout, aws_environment

FUNCTION = f"{STACK_NAME}-gateway"
ALIAS = "live"
_REMEMBERED_SECONDS = 600
_ENVIRONMENT_MB = 60
_PATIENCE_SECONDS = 280


@dataclass(frozen=True)
class Served:
    """What the function's log says of the requests of a team.

    Attributes:
        requests: that have a line.
        at_once: of which the most were in the function at the same moment, each in an environment of its own.
    """

    requests: int
    at_once: int


class DeployedGateway:
    """The gateway function of a running stack, in a version of its own while `racing` lasts."""

    def __init__(self, layout: Layout, outputs: Mapping[str, str]) -> None:
        self._layout = layout
        self._api = outputs["ApiId"]
        self._lambda = deploy.client("lambda", layout)
        self._gateway = deploy.client("apigateway", layout)
        self._logs = deploy.client("logs", layout)
        variables = aws_environment(layout)
        # One invocation for each environment, none of them sent twice because it takes its time.
        self._invoking = boto3.client(
            "lambda",
            region_name=REGION,
            endpoint_url=layout.emulator_url,
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=_PATIENCE_SECONDS, retries={"total_max_attempts": 1}, max_pool_connections=400),
        )

    @contextmanager
    def racing(self, environments: int, tables_url: str) -> Iterator[None]:
        """Serve with a version that shares its layer and reaches its tables through `tables_url`.

        No more than so many environments are there at once; what comes on top is throttled, as on AWS.
        """
        found = self._lambda.get_function_configuration(FunctionName=FUNCTION)
        variables = found["Environment"]["Variables"]
        layers = [used["Arn"] for used in found.get("Layers", [])]
        live = self._lambda.get_alias(FunctionName=FUNCTION, Name=ALIAS)["FunctionVersion"]
        shared = build.build_folder(self._layout.root) / layer.LAYER / "python"
        more = {"PYTHONPATH": str(shared), "AWS_ENDPOINT_URL_DYNAMODB": tables_url}
        self._configure([], variables | more)
        version = self._lambda.publish_version(FunctionName=FUNCTION, Description="for a race")["Version"]
        self._configure(layers, variables)
        authorizers: list[Any] = []
        try:
            self._point_to(version)
            self._lambda.put_function_concurrency(FunctionName=FUNCTION, ReservedConcurrentExecutions=environments)
            authorizers = self._gateway.get_authorizers(restApiId=self._api)["items"]
            for authorizer in authorizers:
                # Every client's key comes in this header, once the front door has it.
                self._remember_keys(authorizer["id"], "method.request.header.Authorization", _REMEMBERED_SECONDS)
            yield
        finally:
            for authorizer in authorizers:
                source, seconds = (
                    authorizer.get("identitySource", ""),
                    authorizer.get("authorizerResultTtlInSeconds", 0),
                )
                self._remember_keys(authorizer["id"], source, seconds)
            self._lambda.delete_function_concurrency(FunctionName=FUNCTION)
            self._point_to(live)
            # Its processes end with it.
            self._lambda.delete_function(FunctionName=FUNCTION, Qualifier=version)

    def warm(self, environments: int, event: Mapping[str, Any]) -> int:
        """Start so many environments by as many invocations at once; the processes that there are then."""
        payload = json.dumps(event)

        def invoke(_: int) -> None:
            answer = self._invoking.invoke(FunctionName=FUNCTION, Qualifier=ALIAS, Payload=payload)
            answer["Payload"].read()

        with ThreadPoolExecutor(environments) as pool:
            list(pool.map(invoke, range(environments)))
        return self.processes()

    def processes(self) -> int:
        """The processes in which environments of this stack's function live, of all its versions."""
        here = f"{self._layout.temporary.resolve()}/ministack-lambda-{FUNCTION}-"
        count = 0
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    count += str((process / "cwd").readlink()).startswith(here)
                except OSError:
                    continue  # It has ended, or is not ours.
        return count

    def served(self, team: str, since: float) -> Served:
        """What was logged of a team's requests since a moment (`time.time`)."""
        moments: list[tuple[datetime, int]] = []
        requests = 0
        request: dict[str, Any] = {
            "logGroupName": f"/aws/lambda/{FUNCTION}",
            "startTime": int(since * 1000),
            "filterPattern": '{ $.message = "request" }',
        }
        while True:
            page = self._logs.filter_log_events(**request)
            for event in page["events"]:
                try:
                    line = json.loads(event["message"])
                except ValueError:
                    continue
                if isinstance(line, dict) and line.get("team") == team and line.get("message") == "request":
                    ended = datetime.strptime(line["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z").astimezone(UTC)
                    moments += [(ended - timedelta(milliseconds=line["latency_ms"]), 1), (ended, -1)]
                    requests += 1
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
        inside = most = 0
        for _, change in sorted(moments):
            inside += change
            most = max(most, inside)
        return Served(requests, most)

    def _configure(self, layers: list[str], variables: Mapping[str, str]) -> None:
        self._lambda.update_function_configuration(
            FunctionName=FUNCTION, Layers=layers, Environment={"Variables": dict(variables)}
        )
        while self._lambda.get_function_configuration(FunctionName=FUNCTION)["LastUpdateStatus"] != "Successful":
            time.sleep(0.1)

    def _point_to(self, version: str) -> None:
        self._lambda.update_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion=version)

    def _remember_keys(self, authorizer: str, source: str, seconds: int) -> None:
        self._gateway.update_authorizer(
            restApiId=self._api,
            authorizerId=authorizer,
            patchOperations=[
                {"op": "replace", "path": "/identitySource", "value": source},
                {"op": "replace", "path": "/authorizerResultTtlInSeconds", "value": str(seconds)},
            ],
        )


def affordable(environments: int) -> int:
    """So many environments, or as many as the free memory of this machine allows."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return max(8, min(environments, int(line.split()[1]) // 1024 // _ENVIRONMENT_MB))
    return environments
