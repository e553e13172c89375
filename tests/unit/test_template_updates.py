"""What deploying again changes, and what stacks beside one another share."""

import tomllib

import pytest

from tests.unit.template_document import ROOT, events_of, functions, resources, template


def test_functions_that_publish_versions_leave_none_behind() -> None:
    """SAM keeps every version ever deployed unless told otherwise, and SnapStart charges for each one's snapshot.

    https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
    """
    published = {name for name, f in functions().items() if "AutoPublishAlias" in f["Properties"]}
    assert published == {
        name for name, f in functions().items() if f["Properties"].get("VersionDeletionPolicy") == "Delete"
    }
    assert {name for name, f in functions().items() if "SnapStart" in f["Properties"]} <= published


def test_what_callers_wait_for_changes_as_a_whole() -> None:
    """A version has its code and its layer at once; without one, new code meets the old layer for some seconds.

    The cache function takes events as well, which go to no version; nobody's answer depends on it.
    """
    for name, function in functions().items():
        kinds = {event["Type"] for event in events_of(name).values()}
        if kinds == {"Api"} and name != "CacheFunction":
            assert function["Properties"]["AutoPublishAlias"] == "live", name


def test_a_stack_beside_another_has_endpoints_of_its_own() -> None:
    """What `samconfig.toml` offers can stand in one account: each prefix is the stack's name."""
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    default = template()["Parameters"]["EndpointPrefix"]["Default"]
    for name, commands in configured.items():
        if name != "version":
            overrides = commands["deploy"]["parameters"].get("parameter_overrides", "").split()
            told = dict(entry.split("=", 1) for entry in overrides)
            stack = commands["global"]["parameters"]["stack_name"]
            assert told.get("EndpointPrefix", default) == f"{stack}-"


@pytest.mark.parametrize("name", ["RealtimeEndpoint", "MultiModelEndpoint"])
def test_an_update_keeps_the_instances_that_an_endpoint_was_scaled_to(name: str) -> None:
    """SageMaker would otherwise go back to the configuration's number, the fewest, under load.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
    """
    assert resources()[name]["Properties"]["RetainAllVariantProperties"] is True
