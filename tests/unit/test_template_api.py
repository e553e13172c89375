"""The template's API: keys and throttles of its routes, its authorizer, and errors in the shape that clients know."""

import json

import pytest

from tests.unit.template_document import events_of, functions, resources, template

READING_POSTS = {("POST", "/v1/route"), ("POST", "/v1/feedback"), ("POST", "/v1/cache/lookup")}


def _routes() -> list[tuple[str, str]]:
    return [
        (event["Properties"]["Method"].upper(), event["Properties"]["Path"])
        for logical_id in functions()
        for event in events_of(logical_id).values()
        if event["Type"] == "Api"
    ]


@pytest.mark.parametrize(("method", "path"), _routes())
def test_every_route_has_a_key_and_a_throttle(method: str, path: str) -> None:
    """No method goes around the authorizer; what does more than read has limits of its own, all from parameters."""
    api = resources()["Api"]["Properties"]
    assert api["Auth"]["DefaultAuthorizer"] == "KeyAuthorizer"
    assert api["Auth"]["ApiKeyRequired"] is True
    default, *others = api["MethodSettings"]
    assert (default["ResourcePath"], default["HttpMethod"]) == ("/*", "*")
    encoded = "/" + path.replace("/", "~1")
    own = [
        entry
        for entry in others
        if entry["HttpMethod"] == method and entry["ResourcePath"] == {"Fn::If": ["IsLocal", path, encoded]}
    ]
    reads = method == "GET" or (method, path) in READING_POSTS
    (settings,) = own or ([default] if reads else [])
    for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
        assert settings[limit]["Ref"] in template()["Parameters"]


def test_the_stage_waits_for_the_right_to_log() -> None:
    """By way of its log group, since API Gateway refuses a stage with logs in an account without the role."""
    after = resources()["ApiLogGroup"]["Metadata"]["After"]
    assert after == {"Fn::If": ["SetsApiLogsRole", {"Ref": "ApiLogsAccount"}, ""]}
    condition, logs, _ = resources()["Api"]["Properties"]["AccessLogSetting"]["Fn::If"]
    assert (condition, logs["DestinationArn"]) == ("WritesAccessLogs", {"Fn::GetAtt": "ApiLogGroup.Arn"})


def test_lines_of_the_api_have_the_name_that_callers_cannot_choose() -> None:
    """By it they are found beside the functions' lines; refusals of API Gateway itself say the other one."""
    line = json.loads(resources()["Api"]["Properties"]["AccessLogSetting"]["Fn::If"][1]["Format"])
    assert (line["request_id"], line["client_request_id"]) == ("$context.extendedRequestId", "$context.requestId")


def test_no_route_opens_itself() -> None:
    """No event overrides the API's authorization."""
    own = [
        e for name in functions() for e in events_of(name).values() if e["Type"] == "Api" and "Auth" in e["Properties"]
    ]
    assert own == []


def test_the_authorizer_is_asked_every_time_and_names_the_usage_plan_key() -> None:
    """A key in either header reaches the authorizer, which alone says whose usage plan it is."""
    api = resources()["Api"]["Properties"]
    assert api["ApiKeySourceType"] == "AUTHORIZER"
    assert api["Auth"]["Authorizers"]["KeyAuthorizer"]["Identity"] == {"ReauthorizeEvery": 0}


@pytest.mark.parametrize("kind", resources()["Api"]["Properties"]["GatewayResponses"])
def test_api_gateways_own_errors_have_openais_shape(kind: str) -> None:
    """Errors that never reach a function look like all others, say their request id, and when to come back."""
    response = resources()["Api"]["Properties"]["GatewayResponses"][kind]
    body = response["ResponseTemplates"]["application/json"]
    rendered = body.replace("$context.error.messageString", '"a message"').replace("$context.error.responseType", kind)
    error = json.loads(rendered)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    headers = response["ResponseParameters"]["Headers"]
    assert headers["x-tollgate-request-id"] == "context.requestId"
    assert ("Retry-After" in headers) or (response.get("StatusCode") != "429")
    # OpenAI's clients wait no longer than a minute, and would come back in vain.
    if int(headers.get("Retry-After", "0").strip("'")) > 60:
        assert headers["x-should-retry"] == "'false'"


def test_no_method_is_signed_so_a_wrong_signature_is_a_wrong_address() -> None:
    """API Gateway reads `Authorization` as AWS's signature where it finds no method, and no method here takes one."""
    api = resources()["Api"]["Properties"]
    assert set(api["Auth"]["Authorizers"]) == {api["Auth"]["DefaultAuthorizer"]}
    answers = api["GatewayResponses"]
    assert answers["INVALID_SIGNATURE"] == answers["MISSING_AUTHENTICATION_TOKEN"]


def test_the_known_gateway_errors_have_their_statuses() -> None:
    """A missing key is 401, a missing route 404, a missing scope 403, too much 413 or 429."""
    found = {kind: r.get("StatusCode") for kind, r in resources()["Api"]["Properties"]["GatewayResponses"].items()}
    assert found == {
        "UNAUTHORIZED": "401",
        "INVALID_API_KEY": "401",
        "ACCESS_DENIED": "403",
        "MISSING_AUTHENTICATION_TOKEN": "404",
        "INVALID_SIGNATURE": "404",
        "REQUEST_TOO_LARGE": "413",
        "THROTTLED": "429",
        "QUOTA_EXCEEDED": "429",
        "INTEGRATION_TIMEOUT": "504",
        "INTEGRATION_FAILURE": "502",
        "DEFAULT_4XX": None,
        "DEFAULT_5XX": None,
    }
