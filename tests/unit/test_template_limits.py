"""What CloudFormation, IAM and Lambda take at most.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

import json
import re
from typing import Any

import pytest

from tests.unit.template_document import ROOT, events_of, functions, resources, template

_TEMPLATE_BYTES = 1_000_000
_RESOURCES, _PARAMETERS, _OUTPUTS = 500, 200, 200
_MADE_BY_FUNCTION, _MADE_BY_EVENT = 4, 2
"""What SAM makes of one at most: function, version, alias and settings of its events; a rule and its permission."""

_MANAGED_POLICY, _INLINE_POLICIES = 6_144, 10_240
_POLICY_OF_FUNCTION, _PERMISSION = 20_480, 600
_SAGEMAKER_NAME = 63
_COPIED_ATTRIBUTES = 20
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Projection.html"""

_NAME, _LONGEST_STACK = 64, 40
"""Names of functions and rules; the longest stack name that `docs/deploy.md` allows."""


def _bytes(document: Any) -> int:
    return len(json.dumps(document, separators=(",", ":")))


def test_the_template_fits_into_cloudformation() -> None:
    """What SAM makes of it is a fifth larger, and both have to fit; there is room to grow."""
    assert (ROOT / "template.yaml").stat().st_size < _TEMPLATE_BYTES / 2
    events = sum(len(events_of(name)) for name in functions())
    made = len(resources()) + _MADE_BY_FUNCTION * len(functions()) + _MADE_BY_EVENT * events
    assert made < _RESOURCES
    assert len(template()["Parameters"]) < _PARAMETERS
    assert len(template()["Outputs"]) < _OUTPUTS


@pytest.mark.parametrize("name", [name for name, entry in resources().items() if "DependsOn" in entry])
def test_nothing_depends_on_what_may_not_be_there(name: str) -> None:
    """CloudFormation refuses the template if a condition has taken the other resource out.

    https://github.com/aws-cloudformation/cfn-lint/pull/1738
    """
    before = resources()[resources()[name]["DependsOn"]]
    assert before.get("Condition") in {None, resources()[name].get("Condition")}


@pytest.mark.parametrize("name", resources("AWS::IAM::ManagedPolicy"))
def test_a_managed_policy_is_small_enough(name: str) -> None:
    """References and conditions are written out longer here than the ARNs they become."""
    assert _bytes(resources()[name]["Properties"]["PolicyDocument"]) < _MANAGED_POLICY


@pytest.mark.parametrize("name", resources("AWS::IAM::Role"))
def test_the_policies_of_a_role_are_small_enough(name: str) -> None:
    """All of its own together."""
    documents = [policy["PolicyDocument"] for policy in resources()[name]["Properties"].get("Policies", [])]
    assert sum(map(_bytes, documents)) < _INLINE_POLICIES


@pytest.mark.parametrize("logical_id", functions())
def test_the_routes_of_a_function_fit_into_its_policy(logical_id: str) -> None:
    """Each is one statement in it."""
    routes = [event for event in events_of(logical_id).values() if event["Type"] == "Api"]
    assert len(routes) * _PERMISSION < _POLICY_OF_FUNCTION


@pytest.mark.parametrize("name", resources("AWS::DynamoDB::Table"))
def test_an_index_copies_no_more_than_it_may(name: str) -> None:
    """One more attribute, and CloudFormation would not create the table."""
    for index in resources()[name]["Properties"].get("GlobalSecondaryIndexes", ()):
        assert len(index["Projection"].get("NonKeyAttributes", ())) <= _COPIED_ATTRIBUTES


def test_names_of_models_end_as_sagemaker_wants() -> None:
    """A model's name has no hyphen at its end, and with the longest prefix and ending it fits.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
    """
    pattern = template()["Parameters"]["StarterModelName"]["AllowedPattern"]
    assert re.fullmatch(pattern, "chat-2")
    assert not re.fullmatch(pattern, "chat-")
    longest_prefix, ending = 31, len("-component")
    assert not re.fullmatch(pattern, "a" * (_SAGEMAKER_NAME - longest_prefix - ending))


def test_names_leave_room_for_the_name_of_the_stack() -> None:
    """Functions and rules are named after the stack, and the guide says how long its name may be."""
    named = [function["Properties"]["FunctionName"]["Fn::Sub"] for function in functions().values()]
    named += [
        event["Properties"]["RuleName"]["Fn::Sub"]
        for name in functions()
        for event in events_of(name).values()
        if "RuleName" in event["Properties"]
    ]
    longest = max(len(name.replace("${AWS::StackName}", "")) for name in named)
    assert longest + _LONGEST_STACK <= _NAME
    assert f"at most {_LONGEST_STACK} characters" in " ".join((ROOT / "docs" / "deploy.md").read_text().split())


def test_stacks_of_one_name_in_two_regions_do_not_clash() -> None:
    """Budgets and dashboards belong to the account; every other name is the region's, and roles and policies have none.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-dashboard.html
    """
    assert "${AWS::Region}" in resources()["AccountBudget"]["Properties"]["Budget"]["BudgetName"]["Fn::Sub"]
    assert "${AWS::Region}" in resources()["Dashboard"]["Properties"]["DashboardName"]["Fn::Sub"]
    for kind, key in (("Role", "RoleName"), ("ManagedPolicy", "ManagedPolicyName")):
        assert not [name for name, entry in resources(f"AWS::IAM::{kind}").items() if key in entry["Properties"]]
    assert not [name for name, output in template()["Outputs"].items() if "Export" in output]
