"""The deployed stack that the command line works on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient


class StackError(Exception):
    """The stack cannot be found or used; the message says what to do."""


class Outputs(dict[str, str]):
    """Outputs of a stack; asking for one that is not there says which stack that is."""

    def __missing__(self, name: str) -> str:
        """Refuse.

        Raises:
            StackError: always.
        """
        raise StackError(
            f"The stack has no output {name}: it is not a Tollgate stack, or an older one. Deploy it again."
        )


@dataclass(frozen=True)
class Stack:
    """A deployed stack, by its outputs.

    Attributes:
        outputs: of the CloudFormation stack.
        architecture: of its functions.
    """

    name: str
    region: str
    outputs: Mapping[str, str]
    architecture: str

    @classmethod
    def find(cls, name: str) -> "Stack":
        """Look the stack up with the caller's AWS credentials and region.

        Raises:
            StackError: there is no such stack, or AWS cannot be reached.
        """
        try:
            # boto3 itself looks at AWS_DEFAULT_REGION and the profile only.
            session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
            region = session.region_name
            if not region:
                raise StackError("Set AWS_REGION to the region of the stack; for a local one see docs/local.md.")
            found = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        except EndpointConnectionError as error:
            local = " Is the local stack running (make run)?" if "AWS_ENDPOINT_URL" in os.environ else ""
            raise StackError(f"Nothing answers at {error.kwargs.get('endpoint_url', 'AWS')}.{local}") from error
        except (ClientError, BotoCoreError, ValueError) as error:
            # botocore says ValueError of an AWS_ENDPOINT_URL that is none.
            reason = str(error).rstrip(".")
            raise StackError(
                f"Stack '{name}' cannot be read: {reason}. Check --stack, AWS_REGION and the credentials."
            ) from error
        parameters = {p.get("ParameterKey"): p.get("ParameterValue") for p in found.get("Parameters", [])}
        return cls(
            name=name,
            region=region,
            outputs=Outputs({o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}),
            architecture=parameters.get("Architecture") or "arm64",
        )

    @cached_property
    def transport(self) -> AwsTransport:
        """The functions' own way to AWS."""
        return AwsTransport(TransportConfig.from_mapping({**os.environ, "AWS_REGION": self.region}))

    @cached_property
    def tables(self) -> DynamoDBClient:
        """The tables, through the functions' own client."""
        return DynamoDBClient(self.transport)

    @property
    def registry(self) -> str:
        """Name of the registry table."""
        return self.outputs["RegistryTableName"]

    @cached_property
    def apigateway(self) -> "APIGatewayClient":
        """API Gateway, for usage-plan keys."""
        return boto3.client("apigateway", region_name=self.region)
