"""The template keeps the house rules: names, settings, limits on what a loop can spend, alarms, tags."""

import json
import re
from datetime import date
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.unit.template_document import (
    ROOT,
    as_list,
    events_of,
    folder_of,
    functions,
    resources,
    sent_events,
    settings_class,
    statements,
    target,
    template,
)
from tollgate.adapters.metering.focus_file import focus_key
from tollgate.domain.costs.price_refresh import JUMP_PERCENT
from tollgate.domain.jobs.dropped_files import INPUT_PREFIX
from tollgate.services.usage.compare_bill import DRIFT_ALARM_PERCENT

COST_TAG = "tollgate:stack"
OUR_METRICS = {"Fn::Sub": "Tollgate/${AWS::StackName}"}
LAMBDA_SETS = {"AWS_REGION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}
LAMBDA_READS = {"AWS_LAMBDA_EXEC_WRAPPER"}
POLLED = ("async_submit", "batch_dispatch", "webhook_delivery", "deferred")
ON_AWS = ("MakesEndpoints", "MakesComponent", "MakesMultiModel", "MakesModelStore")
PUSHED = {"SNS", "EventBridgeRule", "Schedule"}


def _variables(logical_id: str) -> set[str]:
    return set(functions()[logical_id]["Properties"].get("Environment", {}).get("Variables", {}))


def _shared_variables() -> set[str]:
    return set(template()["Globals"]["Function"]["Environment"]["Variables"])


def _queues_with_redrive() -> dict[str, str]:
    return {
        name: target(queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"])
        for name, queue in resources("AWS::SQS::Queue").items()
        if "RedrivePolicy" in queue["Properties"]
    }


@pytest.mark.parametrize("name", template()["Parameters"])
def test_every_parameter_has_a_description_and_a_default(name: str) -> None:
    """`sam deploy --guided` explains every question and has an answer to it."""
    parameter = template()["Parameters"][name]
    assert parameter["Description"].endswith(".")
    assert "Default" in parameter


def test_every_parameter_is_in_one_group() -> None:
    """The console shows every parameter under a heading, once."""
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(template()["Parameters"])


@pytest.mark.parametrize("logical_id", functions())
def test_a_function_is_named_after_its_folder(logical_id: str) -> None:
    """The logical id is the folder's name in PascalCase plus `Function`, and the folder has the handler."""
    folder = folder_of(logical_id)
    assert logical_id == "".join(part.capitalize() for part in folder.split("_")) + "Function"
    assert (ROOT / "functions" / folder / "app.py").is_file()


def test_every_folder_is_deployed() -> None:
    """There is no function in the repository that the template forgets."""
    present = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert present <= {folder_of(logical_id) for logical_id in functions()}


@pytest.mark.parametrize("logical_id", functions())
def test_settings_find_their_variables(logical_id: str) -> None:
    """A function's settings class asks for nothing that the template does not set, and ignores nothing of its own."""
    fields = {name.upper() for name in settings_class(folder_of(logical_id)).fields()}
    assert fields - LAMBDA_SETS <= _shared_variables() | _variables(logical_id)
    assert _variables(logical_id) - LAMBDA_READS <= fields


@pytest.mark.parametrize("logical_id", functions())
def test_settings_know_their_types(logical_id: str) -> None:
    """A field's type reads its variable; in a module with postponed annotations it would be a mere name."""
    assert all(isinstance(kind, type) for kind in settings_class(folder_of(logical_id)).fields().values())


def test_the_variables_all_functions_share() -> None:
    """Endpoints of AWS never come from the template, for the local stack sets them in the process."""
    assert not [name for name in _shared_variables() if name.startswith("AWS_")]


@pytest.mark.parametrize("logical_id", functions())
def test_every_function_has_a_role_and_a_log_group_of_its_own(logical_id: str) -> None:
    """Nothing is shared by accident, and logs go where their retention is set."""
    stem = logical_id.removesuffix("Function")
    properties = functions()[logical_id]["Properties"]
    assert target(properties["Role"]) == f"{stem}Role"
    assert target(properties["LoggingConfig"]["LogGroup"]) == f"{stem}LogGroup"
    name = properties["FunctionName"]["Fn::Sub"]
    assert resources()[f"{stem}LogGroup"]["Properties"]["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/{name}"}


@pytest.mark.parametrize("name", resources("AWS::Logs::LogGroup"))
def test_logs_are_not_kept_for_ever(name: str) -> None:
    """Every log group has a retention."""
    assert resources()[name]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("logical_id", functions())
def test_functions_time_out_before_their_caller_gives_up(logical_id: str) -> None:
    """Behind the API at most 29 s; a queue hides messages for six of them and the batching window at least.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    timeout = functions()[logical_id]["Properties"]["Timeout"]
    if timeout == {"Ref": "StreamingSeconds"}:
        # API Gateway lets a streamed answer take 15 minutes.
        assert template()["Parameters"]["StreamingSeconds"]["MaxValue"] <= 900
        return
    for event in events_of(logical_id).values():
        if event["Type"] == "Api":
            assert timeout <= 29
        if event["Type"] == "SQS":
            queue = resources()[target(event["Properties"]["Queue"])]
            window = event["Properties"]["MaximumBatchingWindowInSeconds"]
            assert queue["Properties"]["VisibilityTimeout"] >= 6 * timeout + window


@pytest.mark.parametrize("folder", POLLED)
def test_pollers_are_bounded_and_report_single_messages(folder: str) -> None:
    """Where a queue feeds a function, a loop cannot use all of the account, and one bad message stays alone."""
    logical_id = next(name for name in functions() if folder_of(name) == folder)
    (event,) = [event for event in events_of(logical_id).values() if event["Type"] == "SQS"]
    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    condition, local, elsewhere = event["Properties"]["ScalingConfig"]["MaximumConcurrency"]["Fn::If"]
    default = template()["Parameters"][elsewhere["Ref"]]["Default"]
    assert (condition, local) == ("IsLocal", default)


@pytest.mark.parametrize("folder", POLLED)
def test_whoever_sends_to_its_own_queue_may_do_so(folder: str) -> None:
    """Lambda would stop a message that comes back for the sixteenth time, and put it among the dead letters.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """
    logical_id = next(name for name in functions() if folder_of(name) == folder)
    (event,) = [event for event in events_of(logical_id).values() if event["Type"] == "SQS"]
    queue, role = target(event["Properties"]["Queue"]), target(functions()[logical_id]["Properties"]["Role"])
    sends = any(
        name == role
        and "sqs:SendMessage" in as_list(statement["Action"])
        and queue in map(target, as_list(statement["Resource"]))
        for name, statement in statements()
    )
    assert functions()[logical_id]["Properties"].get("RecursiveLoop") == ("Allow" if sends else None)


def test_only_the_expected_functions_are_polled() -> None:
    """The list above is complete."""
    polled = {
        folder_of(name) for name in functions() if any(event["Type"] == "SQS" for event in events_of(name).values())
    }
    assert polled == set(POLLED)


@pytest.mark.parametrize("logical_id", functions())
def test_what_is_pushed_at_a_function_is_not_lost(logical_id: str) -> None:
    """Events, topics and schedules end in a dead-letter queue and have a concurrency limit."""
    pushed = [event for event in events_of(logical_id).values() if event["Type"] in PUSHED]
    if not pushed and logical_id not in sent_events():
        assert "EventInvokeConfig" not in functions()[logical_id]["Properties"]
        return
    properties = functions()[logical_id]["Properties"]
    failure = properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert target(failure["Destination"]) == "EventsDeadLetterQueue"
    assert properties["ReservedConcurrentExecutions"]["Fn::If"][0] == "ReservesWorkers"
    for event in pushed:
        if event["Type"] == "SNS":
            assert target(event["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]) == "EventsDeadLetterQueue"
        if event["Type"] == "EventBridgeRule":
            assert target(event["Properties"]["DeadLetterConfig"]["Arn"]) == "EventsDeadLetterQueue"


def test_rules_may_write_dead_letters() -> None:
    """The queue knows them by names of ours: CloudFormation would cut a long one, and the stack's name with it."""
    rules = [
        event["Properties"]["RuleName"]["Fn::Sub"]
        for name in functions()
        for event in events_of(name).values()
        if event["Type"] == "EventBridgeRule"
    ]
    policy = resources()["EventsDeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = [
        arn["Fn::Sub"].rpartition("/")[2]
        for statement in policy
        for arn in statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        if "Fn::Sub" in arn
    ]
    assert sorted(rules) == sorted(allowed)


def test_topics_may_write_dead_letters() -> None:
    """Every topic that a function listens to, and no other."""
    topics = {
        target(event["Properties"]["Topic"])
        for name in functions()
        for event in events_of(name).values()
        if event["Type"] == "SNS"
    }
    (statement,) = (
        statement
        for statement in resources()["EventsDeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "sns.amazonaws.com"}
    )
    assert {target(arn) for arn in statement["Condition"]["ArnEquals"]["aws:SourceArn"]} == topics


@pytest.mark.parametrize("name", resources("AWS::SQS::Queue"))
def test_every_queue_has_dead_letters_and_every_dead_letter_an_alarm(name: str) -> None:
    """A message that cannot be handled ends somewhere, and somebody hears of it."""
    dead_letter_queues = set(_queues_with_redrive().values()) | {"EventsDeadLetterQueue"}
    assert name in _queues_with_redrive() or name in dead_letter_queues
    assert resources()[name]["Properties"]["SqsManagedSseEnabled"] is True
    if name in dead_letter_queues:
        alarmed = [
            alarm
            for alarm in resources("AWS::CloudWatch::Alarm").values()
            if [target(dimension["Value"]) for dimension in alarm["Properties"].get("Dimensions", ())] == [name]
        ]
        assert [target(action) for alarm in alarmed for action in alarm["Properties"]["AlarmActions"]] == ["AlarmTopic"]


def test_alarms_stay_within_the_free_ten() -> None:
    """CloudWatch charges for every alarm beyond ten; those of endpoints come only with endpoints."""
    assert len([a for a in resources("AWS::CloudWatch::Alarm").values() if "Condition" not in a]) <= 10


def test_a_price_jump_raises_the_alarm_at_the_limit_of_the_code() -> None:
    """The metric, its name and its threshold are the ones that the refresh uses; the day is the schedule's default."""
    alarm = resources()["PriceJumpAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (OUR_METRICS, "PriceJumpPercent")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", JUMP_PERCENT)
    assert "Dimensions" not in alarm
    assert target(alarm["AlarmActions"][0]) == "AlarmTopic"
    assert (alarm["Period"], template()["Parameters"]["PriceRefreshSchedule"]["Default"]) == (86400, "rate(1 day)")


def test_prices_are_not_refreshed_where_there_is_no_price_list() -> None:
    """The emulator has neither price list nor bill, so their schedules are off there."""
    schedules = events_of("CostReconcileFunction")
    off = {name for name, event in schedules.items() if "State" in event["Properties"]}
    assert off == {"PriceRefresh", "BillComparison"}
    assert all(schedules[name]["Properties"]["State"] == {"Fn::If": ["IsLocal", "DISABLED", "ENABLED"]} for name in off)


def test_a_drifting_ledger_raises_the_alarm_at_the_limit_of_the_code() -> None:
    """As for prices: once a day, and one high reading is enough."""
    alarm = resources()["LedgerDriftAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (OUR_METRICS, "LedgerDriftPercent")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", DRIFT_ALARM_PERCENT)
    assert (alarm["Period"], "Dimensions" in alarm) == (86400, False)
    assert target(alarm["AlarmActions"][0]) == "AlarmTopic"


def _taggable(kind: str) -> bool:
    return "Tags" in PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["properties"]


@pytest.mark.parametrize("name", [name for name, resource in resources().items() if _taggable(resource["Type"])])
def test_every_taggable_resource_carries_the_cost_tag(name: str) -> None:
    """The bill can be split by stack."""
    resource = resources()[name]
    tags: Any = resource["Properties"].get("Tags", [])
    if resource["Type"] == "AWS::Serverless::Function":
        tags = template()["Globals"]["Function"]["Tags"] | dict(tags)
    named = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
    assert named[COST_TAG] == {"Ref": "AWS::StackName"}


@pytest.mark.parametrize("name", resources())
def test_what_belongs_to_a_road_is_tagged_with_it(name: str) -> None:
    """Queues, topics, functions and endpoints of a road carry `InferenceType`, so that each road's bill can be seen."""
    resource = resources()[name]
    road = next(
        (
            tag
            for stem, tag in (("Async", "async"), ("Batch", "batch"), ("Realtime", "realtime"))
            if name.startswith(stem)
        ),
        None,
    )
    if road is None or not _taggable(resource["Type"]):
        return
    tags = resource["Properties"].get("Tags", [])
    named = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
    assert named["InferenceType"] == road


@pytest.mark.parametrize("name", resources("AWS::DynamoDB::Table"))
def test_tables_are_on_demand_recoverable_and_forget(name: str) -> None:
    """An idle table costs nothing, a wrong write can be undone where it matters, and old items go."""
    properties = resources()[name]["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    recovery = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    kept = resources()[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert {key: value for key, value in properties.items() if key in recovery} == (recovery if kept else {})
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


@pytest.mark.parametrize("name", resources("AWS::DynamoDB::Table"))
def test_tables_use_the_key_that_costs_nothing(name: str) -> None:
    """DynamoDB encrypts with its own key; one in the account is billed by the call, each minute of an idle stack.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.howitworks.html
    """
    assert "SSESpecification" not in resources()[name]["Properties"]


def test_the_indexes_of_jobs() -> None:
    """Jobs are found by owner, by what is left to do, and by when they ended; only the last index copies more."""
    indexes = {
        index["IndexName"]: (
            [key["AttributeName"] for key in index["KeySchema"]],
            index["Projection"]["ProjectionType"],
        )
        for index in resources()["JobsTable"]["Properties"]["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "by_owner": (["tenant", "created_at"], "KEYS_ONLY"),
        "open": (["open_group", "created_at"], "KEYS_ONLY"),
        "settled": (["settled_group", "settled_at"], "INCLUDE"),
    }


def test_the_bucket_is_closed_and_forgets() -> None:
    """Encrypted, versioned, not public, TLS only, and nothing that functions write is kept for ever."""
    properties = resources()["Bucket"]["Properties"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (deny,) = resources()["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    kept = {rule["Prefix"] for rule in properties["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule}
    used = {
        match
        for name in resources("AWS::IAM::Role")
        for match in re.findall(r"\$\{Bucket\.Arn\}/([a-z-]+/)", json.dumps(resources()[name]))
    }
    # Tokenizers are the owner's files, like the catalogue: they stay, and no function may write them.
    assert (used - {"tokenizers/"}) | {focus_key(date(2026, 1, 1)).partition("/")[0] + "/"} <= kept
    (whole,) = [rule for rule in properties["LifecycleConfiguration"]["Rules"] if "Prefix" not in rule]
    assert whole["NoncurrentVersionExpiration"] == {"NoncurrentDays": {"Ref": "NoncurrentVersionDays"}}
    assert whole["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_the_bucket_tells_of_dropped_files_only() -> None:
    """EventBridge would get every event of every object, and is paid for each; S3's own notices know prefixes.

    https://aws.amazon.com/eventbridge/pricing/ and
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
    """
    bucket = resources()["Bucket"]
    (kind,) = bucket["Properties"]["NotificationConfiguration"]
    (notice,) = bucket["Properties"]["NotificationConfiguration"][kind]
    assert (kind, notice["Event"]) == ("TopicConfigurations", "s3:ObjectCreated:*")
    assert notice["Filter"] == {"S3Key": {"Rules": [{"Name": "prefix", "Value": INPUT_PREFIX}]}}
    topic = target(notice["Topic"])
    # The managed key of SNS lets S3 not in, and S3 tries the topic before it takes the configuration.
    assert "KmsMasterKeyId" not in resources()[topic]["Properties"]
    (allow,) = resources()[bucket["DependsOn"]]["Properties"]["PolicyDocument"]["Statement"]
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert [target(name) for name in resources()[bucket["DependsOn"]]["Properties"]["Topics"]] == [topic]
    assert target(events_of("BatchDispatchFunction")["FileDropped"]["Properties"]["Topic"]) == topic


def _is_off_locally(condition: str) -> bool:
    """Whether the condition asks, itself or by one of its parts, not to be local."""
    parts = template()["Conditions"][condition].get("Fn::And", ())
    return {"Fn::Not": [{"Condition": "IsLocal"}]} in parts or any(
        _is_off_locally(part["Condition"]) for part in parts if "Condition" in part
    )


@pytest.mark.parametrize("name", resources())
def test_what_the_emulator_lacks_is_under_a_condition(name: str) -> None:
    """One template serves AWS and the emulator."""
    resource = resources()[name]
    if resource["Type"].startswith(("AWS::SageMaker::", "AWS::ApplicationAutoScaling::", "AWS::ECR::")):
        assert resource["Condition"] in ON_AWS
        assert _is_off_locally(resource["Condition"])


def test_the_dashboard_is_json() -> None:
    """The body parses, and its widgets do not overlap."""
    body = json.loads(resources()["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    places = [(widget["x"], widget["y"]) for widget in body["widgets"]]
    assert len(places) == len(set(places))
    shown = json.dumps(body)
    assert all(f"{queue}.QueueName" in shown for queue in resources("AWS::SQS::Queue"))


def test_outputs_are_complete() -> None:
    """The command line and the local stack find what they need."""
    assert set(template()["Outputs"]) == {
        *("ApiUrl", "ApiId", "StageName", "BucketName", "UsagePlanId", "AlarmTopicArn"),
        *("JobsTableName", "CacheTableName", "LedgerTableName", "RegistryTableName"),
        *("BudgetAlarmFunctionName", "CapacityFunctionName"),
        *("AsyncSuccessTopicArn", "AsyncErrorTopicArn"),
        *("AsyncQueueUrl", "BatchQueueUrl", "WebhookQueueUrl"),
    }
    assert all(as_list(output["Description"]) for output in template()["Outputs"].values())
