"""AWS Cost Explorer: what the resources with this stack's tag have cost.

Each question costs a cent, so it is asked once a day. The tag must be activated as a cost allocation tag, or nothing is
found. https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tollgate.domain.errors import StorageError
from tollgate.domain.money import ZERO

TAG = "tollgate:stack"
ENDPOINT_REGION = "us-east-1"
_NOT_THERE = frozenset({"AccessDeniedException", "DataUnavailableException"})
"""What Cost Explorer answers in an account that has not enabled it, and while it gathers its first data."""


class CostClient(Protocol):
    """The part of ``boto3.client("ce")`` that is used."""

    def get_cost_and_usage(self, **fields: Any) -> Mapping[str, Any]:
        """Costs by time."""


class CostExplorer:
    """The `Bill` of AWS.

    Args:
        client: makes the client when it is first needed.
        stack: value of the tag.
    """

    def __init__(self, client: Callable[[], CostClient], stack: str) -> None:
        self._client = client
        self._stack = stack

    def of_day(self, day: date) -> Decimal | None:
        """See `Bill`. None until somebody has opened Cost Explorer in the console, and for the day after that."""
        try:
            answer = self._client().get_cost_and_usage(
                TimePeriod={"Start": day.isoformat(), "End": (day + timedelta(days=1)).isoformat()},
                Granularity="DAILY",
                Metrics=["UnblendedCost"],
                Filter={
                    "And": [
                        {"Tags": {"Key": TAG, "Values": [self._stack]}},
                        {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund", "Tax"]}}},
                    ]
                },
            )
            return sum((Decimal(each["Total"]["UnblendedCost"]["Amount"]) for each in answer["ResultsByTime"]), ZERO)
        except (ClientError, BotoCoreError, KeyError, InvalidOperation) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _NOT_THERE:
                return None
            raise StorageError(f"The bill cannot be read ({type(error).__name__}).", retry_after=60) from error
