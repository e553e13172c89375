"""API Gateway's own error bodies, which the emulator does not take from the API's definition.

SAM writes the template's `GatewayResponses` into the definition of the REST API as the extension
``x-amazon-apigateway-gateway-responses``. AWS reads them there; the emulator takes them only through the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.literals import GatewayResponseTypeType
    from mypy_boto3_cloudformation import CloudFormationClient

EXTENSION = "x-amazon-apigateway-gateway-responses"


def gateway_responses(processed_template: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The responses by type, out of the template as the SAM transform left it.

    Raises:
        LookupError: the template has no REST API with such responses.
    """
    for resource in processed_template["Resources"].values():
        if resource["Type"] == "AWS::ApiGateway::RestApi":
            return cast("Mapping[str, Mapping[str, Any]]", resource["Properties"]["Body"][EXTENSION])
    raise LookupError("the template has no REST API")


def apply_gateway_responses(
    cloudformation: CloudFormationClient, apigateway: APIGatewayClient, *, stack_name: str, api_id: str, stage_name: str
) -> int:
    """Puts the deployed stack's gateway responses on its API and deploys the stage; returns how many there are."""
    answer = cloudformation.get_template(StackName=stack_name, TemplateStage="Processed")
    responses = gateway_responses(cast("Mapping[str, Any]", answer["TemplateBody"]))
    for response_type, response in responses.items():
        status = {"statusCode": str(response["statusCode"])} if "statusCode" in response else {}
        apigateway.put_gateway_response(
            restApiId=api_id,
            responseType=cast("GatewayResponseTypeType", response_type),
            responseParameters=dict(response["responseParameters"]),
            responseTemplates=dict(response["responseTemplates"]),
            **status,
        )
    apigateway.create_deployment(restApiId=api_id, stageName=stage_name)
    return len(responses)
