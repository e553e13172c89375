"""Roles allow named actions on named resources, and only what their function does."""

import json

import pytest

from tests.unit.template_document import as_list, folder_of, functions, resources, settings_class, statements, target
from tollgate.adapters.messaging import webhook_http

# AWS offers no resource-level permission for these.
WITHOUT_RESOURCES = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "pricing:GetProducts",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "cloudwatch:GetMetricStatistics",
    "sagemaker:ListTransformJobs",
    "ce:GetCostAndUsage",
    "sagemaker:CallWithBearerToken",
}
CAN_START_INFERENCE = {
    "sagemaker:InvokeEndpoint": {"GatewayRole", "CacheRole", "DeferredRole", "StreamingRole"},
    "sagemaker:InvokeEndpointWithResponseStream": {"StreamingRole"},
    "sagemaker:InvokeEndpointAsync": {"AsyncSubmitRole"},
    "sagemaker:CreateTransformJob": {"BatchDispatchRole", "BatchCompletionRole", "SweeperRole"},
}
PROVIDERS = {
    "bedrock:InvokeModel": {"GatewayRole", "CacheRole", "DeferredRole", "StreamingRole"},
    "bedrock:InvokeModelWithResponseStream": {"StreamingRole"},
    "ssm:GetParameter": {"GatewayRole", "CacheRole", "DeferredRole", "StreamingRole"},
}
_BASE = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}


def _allowed(role: str) -> set[str]:
    return {
        action
        for name, statement in statements()
        if name == role and statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }


def _resources(role: str) -> str:
    """What the role's statements are about, as text."""
    return json.dumps([statement.get("Resource") for name, statement in statements() if name == role])


def test_streams_may_do_whatever_whole_answers_need() -> None:
    """The same services run in both functions; a right that one lacks would fail only on AWS."""

    def rights(role: str) -> set[tuple[str, str, str]]:
        return {
            (action, json.dumps(statement.get("Resource"), sort_keys=True), json.dumps(statement.get("Condition")))
            for name, statement in statements()
            if name == role and statement["Effect"] == "Allow"
            for action in as_list(statement["Action"])
        }

    assert rights("GatewayRole") <= rights("StreamingRole")


def test_no_wildcard_actions() -> None:
    """Every allowed action is spelled out."""
    wild = [(name, a) for name, statement in statements() for a in as_list(statement["Action"]) if "*" in a]
    assert wild == []


def test_everything_is_allowed_on_named_resources_only() -> None:
    """`*` stands alone only where AWS knows nothing narrower."""
    open_actions = {
        action
        for _, statement in statements()
        if "*" in as_list(statement.get("Resource", []))
        for action in as_list(statement["Action"])
    }
    assert open_actions <= WITHOUT_RESOURCES


def test_no_right_reaches_stacks_whose_names_begin_alike() -> None:
    """`tollgate-*` would be `tollgate-dev-gateway`, too."""
    assert "${AWS::StackName}-*" not in json.dumps(resources())
    assert "${AWS::StackName}*" not in json.dumps(resources())


def test_functions_write_to_all_logs_of_the_stack_and_to_no_other() -> None:
    """Named one by one; those of functions under a condition only where they are."""
    (logs,) = [
        statement["Resource"]
        for statement in resources()["FunctionBasePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if "logs:PutLogEvents" in as_list(statement.get("Action", []))
    ]
    groups = {
        target(function["Properties"]["LoggingConfig"]["LogGroup"]): function.get("Condition")
        for function in functions().values()
    }
    named = {target(entry): entry["Fn::If"][0] if "Fn::If" in entry else None for entry in logs}
    assert named == groups
    assert all(str(entry).count(".Arn") == 1 for entry in logs)


def test_functions_use_no_managed_policies_of_aws() -> None:
    """AWS's own execution policies open all queues and log groups of the account."""
    for function in functions().values():
        assert "Policies" not in function["Properties"]
        role = resources()[target(function["Properties"]["Role"])]["Properties"]
        policies = [target(policy) for policy in role["ManagedPolicyArns"]]
        assert policies[0] == "FunctionBasePolicy"
        assert set(policies) <= set(resources("AWS::IAM::ManagedPolicy"))


@pytest.mark.parametrize(("action", "roles"), CAN_START_INFERENCE.items())
def test_few_roles_can_start_what_costs_most(action: str, roles: set[str]) -> None:
    """Models are run by the functions of their road only, on names with the stack's prefix."""
    holders = {
        name
        for name, statement in statements()
        if statement["Effect"] == "Allow" and action in as_list(statement["Action"])
    }
    assert holders == roles
    for name, statement in statements():
        if action in as_list(statement["Action"]):
            assert all(
                "${EndpointPrefix}*" in r["Fn::Sub"] or "/tollgate-*" in r["Fn::Sub"]
                for r in as_list(statement["Resource"])
            ), name


@pytest.mark.parametrize(("action", "roles"), PROVIDERS.items())
def test_providers_are_called_only_where_the_stack_was_told_so(action: str, roles: set[str]) -> None:
    """By those who run requests, and nothing beyond what a parameter names; without it the statement is not there."""
    found = {name: statement for name, statement in statements() if action in as_list(statement["Action"])}
    assert set(found) == roles
    for statement in found.values():
        assert statement["Action"] == [action]
        named = json.dumps(statement["Resource"])
        assert "BedrockModels" in named or "parameter${ProviderKeysPath}/*" in named
    documents = [resources()["ProvidersPolicy"]["Properties"]["PolicyDocument"]]
    documents += [policy["PolicyDocument"] for policy in resources()["StreamingRole"]["Properties"]["Policies"]]
    conditional = [s["Fn::If"] for document in documents for s in document["Statement"] if "Fn::If" in s]
    condition = "CallsBedrock" if "bedrock" in action else "HasProviderKeys"
    assert [name for name, statement, _ in conditional if statement["Action"] == [action]] == [condition]


@pytest.mark.parametrize("role", ["BudgetAlarmRole", "CapacityRole"])
def test_whoever_takes_endpoints_down_may_do_all_of_it(role: str) -> None:
    """SageMaker and Application Auto Scaling ask on behalf of the caller for what the adapter never calls itself.

    Without the first an endpoint that scales is not deleted, without the others its target and policies not put back.
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html
    https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
    """
    asked_for = {
        "application-autoscaling:DeregisterScalableTarget",
        "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeEndpointConfig",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        "sagemaker:DescribeInferenceComponent",
        "sagemaker:UpdateInferenceComponentRuntimeConfig",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DeleteAlarms",
    }
    assert asked_for <= _allowed(role)
    deleting = [s for name, s in statements() if name == role and "sagemaker:DeleteEndpoint" in as_list(s["Action"])]
    assert all("${EndpointPrefix}*" in s["Resource"]["Fn::Sub"] for s in deleting)


def test_only_alarms_of_target_tracking_may_be_changed() -> None:
    """Nobody can silence an alarm of the stack or of its neighbours."""
    writing = {"cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"}
    found = [statement["Resource"] for _, statement in statements() if writing & set(as_list(statement["Action"]))]
    assert found
    assert all(resource["Fn::Sub"].endswith(":alarm:TargetTracking-*") for resource in found)


def test_only_who_may_call_endpoints_may_do_so_by_token() -> None:
    """A token has its maker's rights, so it opens nothing to whoever may not invoke."""
    holders = {
        name for name, statement in statements() if "sagemaker:CallWithBearerToken" in as_list(statement["Action"])
    }
    assert holders == CAN_START_INFERENCE["sagemaker:InvokeEndpoint"]


@pytest.mark.parametrize("role", [name for name in resources("AWS::IAM::Role") if name.endswith("Role")])
def test_no_function_can_write_keys_secrets_or_the_catalogue(role: str) -> None:
    """Whoever may write the registry is refused the items that decide who may do what, and at what price."""
    writes = [
        statement
        for name, statement in statements()
        if name == role
        and WRITES & set(as_list(statement["Action"]))
        and "RegistryTable" in json.dumps(statement["Resource"])
    ]
    if any(statement["Effect"] == "Allow" for statement in writes):
        (deny,) = [statement for statement in writes if statement["Effect"] == "Deny"]
        assert set(deny["Action"]) >= WRITES
        keys = deny["Condition"]["ForAnyValue:StringLike"]["dynamodb:LeadingKeys"]
        own = {"CostReconcileRole": {"prices#*"}, "BudgetAlarmRole": {"control*"}}.get(role, set())
        assert set(keys) == {"key#*", "webhook#*", "catalogue*", "prices#*", "control*"} - own


def test_reconciliation_changes_nothing_but_prices_usage_notices_and_exports() -> None:
    """It reads what was logged, settled, up and invoiced; it starts and stops nothing."""
    assert _allowed("CostReconcileRole") - _BASE == {
        "sts:AssumeRole",
        "pricing:GetProducts",
        "cloudwatch:GetMetricStatistics",
        "ce:GetCostAndUsage",
        "dynamodb:GetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
        "logs:FilterLogEvents",
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "sagemaker:DescribeEndpoint",
        "sqs:SendMessage",
    }
    ours = [s for name, s in statements() if name == "CostReconcileRole" and s["Effect"] == "Allow"]
    written = [s for s in ours if "dynamodb:PutItem" in as_list(s["Action"])]
    keys = [names["dynamodb:LeadingKeys"] for s in written for names in s["Condition"].values()]
    assert keys == [["prices#*"], ["usage#*"], ["notice"]]
    (objects,) = [s for s in ours if "s3:PutObject" in as_list(s["Action"])]
    assert objects["Resource"] == {"Fn::Sub": "${Bucket.Arn}/exports/*"}


def test_the_authorizer_only_reads_keys() -> None:
    """The function that every caller reaches can do one thing."""
    assert _allowed("AuthorizerRole") - _BASE == {"sts:AssumeRole", "dynamodb:GetItem"}


@pytest.mark.parametrize("logical_id", functions())
def test_polled_queues_can_be_read(logical_id: str) -> None:
    """A function whose events come from a queue may take them from it."""
    role = target(functions()[logical_id]["Properties"]["Role"])
    for event in functions()[logical_id]["Properties"].get("Events", {}).values():
        if event["Type"] == "SQS":
            assert {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} <= _allowed(role)


TABLES = ("Jobs", "Cache", "Ledger", "Registry")


@pytest.mark.parametrize("logical_id", functions())
def test_a_role_opens_the_tables_that_its_function_was_told_of(logical_id: str) -> None:
    """The emulator does not check policies, so this does: nothing is missing on AWS, and nothing is left over."""
    told = {name for name in TABLES if f"table_{name.lower()}" in settings_class(folder_of(logical_id)).fields()}
    opened = _resources(target(functions()[logical_id]["Properties"]["Role"]))
    assert {name for name in TABLES if f"{name}Table.Arn" in opened} == told


@pytest.mark.parametrize("logical_id", functions())
def test_a_role_opens_the_queues_and_the_bucket_that_its_function_was_told_of(logical_id: str) -> None:
    """As for tables; dead letters and the queue that a function is fed from come on top."""
    properties = functions()[logical_id]["Properties"]
    told = {target(value) for value in properties.get("Environment", {}).get("Variables", {}).values()}
    fed = {target(e["Properties"]["Queue"]) for e in properties.get("Events", {}).values() if e["Type"] == "SQS"}
    opened = _resources(target(properties["Role"]))
    queues = [name for name in resources("AWS::SQS::Queue") if name != "EventsDeadLetterQueue"]
    assert {name for name in queues if f'"{name}.Arn"' in opened} == (told | fed) & set(queues)
    assert ("EventsDeadLetterQueue.Arn" in opened) == ("EventInvokeConfig" in properties)
    assert ("${Bucket.Arn}" in opened) == ("bucket" in settings_class(folder_of(logical_id)).fields())


def _opens(role: str, action: str, resource: str) -> bool:
    """Whether the role may do this with a resource of that name, such as ``JobsTable.Arn``."""
    return any(
        action in as_list(statement["Action"]) and f'"{resource}"' in json.dumps(statement["Resource"])
        for name, statement in statements()
        if name == role and statement["Effect"] == "Allow"
    )


@pytest.mark.parametrize("role", ["GatewayRole", "StreamingRole", "CacheRole"])
def test_who_takes_requests_as_jobs_may_note_their_road(role: str) -> None:
    """The first job of a road adds it to the list by which the sweeper finds all jobs; without the right there is none.

    The cache function takes a refresh as a job where its endpoint has no capacity.
    """
    assert _opens(role, "dynamodb:PutItem", "JobsTable.Arn")
    assert _opens(role, "dynamodb:UpdateItem", "JobsTable.Arn")


@pytest.mark.parametrize("logical_id", [name for name in functions() if name != "WebhookDeliveryFunction"])
def test_who_reads_objects_can_tell_that_one_is_gone(logical_id: str) -> None:
    """To others S3 says that access is denied, which is answered with "try again". Webhooks only sign addresses."""
    role = target(functions()[logical_id]["Properties"]["Role"])
    if "s3:GetObject" in _allowed(role):
        assert _opens(role, "s3:ListBucket", "Bucket.Arn")


def test_slow_receivers_do_not_use_up_the_time_of_other_tenants_webhooks() -> None:
    """An invocation that runs out of time brings back all of its messages, also of calls that were made."""
    function = functions()["WebhookDeliveryFunction"]["Properties"]
    size = function["Events"]["Waiting"]["Properties"]["BatchSize"]
    longest = webhook_http._CONNECT_SECONDS * webhook_http._ADDRESSES_TRIED + 8.0
    assert size * longest < function["Timeout"] / 2


SECRETS = {"key#*": {"AuthorizerRole", "BudgetAlarmRole"}, "webhook#*": {"WebhookDeliveryRole", "BudgetAlarmRole"}}


@pytest.mark.parametrize("keys", SECRETS)
def test_few_can_read_who_holds_keys_and_what_webhooks_are_signed_with(keys: str) -> None:
    """Every other role that reads the registry is held to other items, or is refused these."""
    able = set()
    for role in resources("AWS::IAM::Role"):
        held, refused = [], False
        for name, statement in statements():
            about = "RegistryTable" in json.dumps(statement.get("Resource"))
            if name == role and about and {"dynamodb:GetItem", "dynamodb:Query"} & set(as_list(statement["Action"])):
                (names,) = statement.get("Condition", {"": {"": [keys]}}).values()
                named = keys in names.get("dynamodb:LeadingKeys", [keys])
                refused = refused or (statement["Effect"] == "Deny" and named)
                held.append(statement["Effect"] == "Allow" and named)
        if any(held) and not refused:
            able.add(role)
    assert able == SECRETS[keys]


def test_containers_read_no_more_of_the_owners_bucket_than_their_archive() -> None:
    """Images may be anybody's, and the bucket of `ModelDataUrl` may hold anything beside the archive."""
    reads = [
        resource["Fn::If"][1]["Fn::Sub"]
        for name, statement in statements()
        if name == "EndpointRole" and "s3:GetObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if resource.get("Fn::If", [""])[0] == "HasModelData"
    ]
    archive = {"Fn::Select": [1, {"Fn::Split": ["s3://", {"Ref": "ModelDataUrl"}]}]}
    assert reads == [["arn:${AWS::Partition}:s3:::${Archive}", {"Archive": archive}]]
