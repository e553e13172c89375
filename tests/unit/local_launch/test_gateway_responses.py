"""The emulator gets the gateway responses that SAM wrote into the API's definition."""

from typing import Any, cast

import pytest

from local.launch.gateway_responses import EXTENSION, apply_gateway_responses, gateway_responses

RESPONSES = {
    "THROTTLED": {
        "statusCode": 429,
        "responseParameters": {"gatewayresponse.header.Retry-After": "'1'"},
        "responseTemplates": {"application/json": "{}"},
    },
    "DEFAULT_5XX": {"responseParameters": {}, "responseTemplates": {"application/json": "{}"}},
}
TEMPLATE = {
    "Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {}},
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": {EXTENSION: RESPONSES}}},
    }
}


class RecordingAws:
    """Both clients: gives the template, keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def get_template(self, **arguments: Any) -> dict[str, Any]:
        assert arguments == {"StackName": "tollgate", "TemplateStage": "Processed"}
        return {"TemplateBody": TEMPLATE}

    def put_gateway_response(self, **arguments: Any) -> None:
        self.calls.append(("put", arguments))

    def create_deployment(self, **arguments: Any) -> None:
        self.calls.append(("deploy", arguments))


def test_every_response_is_put_before_the_stage_is_deployed() -> None:
    """A deployment freezes the responses, so it comes last; a status is given only where the template names one."""
    aws = RecordingAws()
    count = apply_gateway_responses(
        cast("Any", aws), cast("Any", aws), stack_name="tollgate", api_id="a", stage_name="s"
    )
    assert count == 2
    assert [name for name, _ in aws.calls] == ["put", "put", "deploy"]
    throttled, other = aws.calls[0][1], aws.calls[1][1]
    assert (throttled["responseType"], throttled["statusCode"]) == ("THROTTLED", "429")
    assert throttled["responseParameters"] == {"gatewayresponse.header.Retry-After": "'1'"}
    assert "statusCode" not in other
    assert aws.calls[2][1] == {"restApiId": "a", "stageName": "s"}


def test_a_template_without_an_api_is_refused() -> None:
    """A template that lost its API is noticed instead of served without error bodies."""
    with pytest.raises(LookupError):
        gateway_responses({"Resources": {}})
