"""What Cost Explorer is asked, and what it answers in accounts that have not enabled it."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tollgate.adapters.metering.cost_explorer import TAG, CostExplorer
from tollgate.domain.errors import StorageError

_DAY = date(2026, 11, 19)


@pytest.fixture
def client() -> Any:
    return boto3.client("ce", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber


def test_the_bill_of_a_day_is_that_of_the_stack(client: Any, stub: Stubber) -> None:
    """By the stack's tag, without what is no use of anything, and to the last digit."""
    amount = {"UnblendedCost": {"Amount": "2.7600000001", "Unit": "USD"}}
    asked = {
        "TimePeriod": {"Start": "2026-11-19", "End": "2026-11-20"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "Filter": {
            "And": [
                {"Tags": {"Key": TAG, "Values": ["tollgate"]}},
                {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund", "Tax"]}}},
            ]
        },
    }
    stub.add_response("get_cost_and_usage", {"ResultsByTime": [{"Total": amount}]}, asked)
    assert CostExplorer(lambda: client, "tollgate").of_day(_DAY) == Decimal("2.7600000001")


@pytest.mark.parametrize("code", ["AccessDeniedException", "DataUnavailableException"])
def test_an_account_without_cost_explorer_has_no_bill(client: Any, stub: Stubber, code: str) -> None:
    """New accounts are refused until somebody has opened it in the console; that is nothing to try again."""
    stub.add_client_error("get_cost_and_usage", code, "User not enabled for cost explorer access")
    assert CostExplorer(lambda: client, "tollgate").of_day(_DAY) is None


def test_a_bill_that_cannot_be_read_now_is_asked_for_again(client: Any, stub: Stubber) -> None:
    """A throttle says nothing about the bill."""
    stub.add_client_error("get_cost_and_usage", "LimitExceededException")
    with pytest.raises(StorageError, match="bill cannot be read"):
        CostExplorer(lambda: client, "tollgate").of_day(_DAY)
