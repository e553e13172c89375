"""Notices on the alarm topic, where mail and HTTPS subscribers already listen."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tollgate.domain.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_SUBJECT_CHARACTERS = 100
"""https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""

_CONNECT_SECONDS, _READ_SECONDS = 1, 2
"""Whoever publishes has a request to answer, and the schedule tries again what was not published."""


class SnsTopic:
    """The `NoticeTopic` of AWS. Does nothing without a topic.

    Few calls publish anything; boto3 is imported only by those.
    """

    def __init__(self, topic_arn: str) -> None:
        self._topic_arn = topic_arn
        self._client: SNSClient | None = None

    def publish(self, subject: str, document: Mapping[str, Any]) -> None:
        """See `NoticeTopic`."""
        if not self._topic_arn:
            return
        import boto3  # noqa: PLC0415 -- 200 ms that no other request may pay
        from botocore.config import Config  # noqa: PLC0415 -- as boto3
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- as boto3

        try:
            if self._client is None:
                patience = Config(
                    connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries={"total_max_attempts": 1}
                )
                self._client = boto3.client("sns", config=patience)
            self._client.publish(
                TopicArn=self._topic_arn, Subject=subject[:_SUBJECT_CHARACTERS], Message=json.dumps(document)
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The alarm topic is not available.") from error


class SnsNotices:
    """The `BudgetNotices` of AWS."""

    def __init__(self, topic_arn: str) -> None:
        self._topic = SnsTopic(topic_arn)

    def send(self, notice: Mapping[str, Any]) -> None:
        """See `BudgetNotices`."""
        subject = f"Tollgate budget {notice['budget']} at {notice['at_percent']} %: {notice['action']}"
        self._topic.publish(subject, {"event": "budget.threshold", **notice})
