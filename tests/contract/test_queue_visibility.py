"""Hiding messages on a real queue."""

import pytest

from tests.contract.moto_stores import LocalAws
from tollgate.adapters.messaging.sqs_visibility import SqsVisibility
from tollgate.domain.errors import StorageError


def test_a_hidden_message_comes_back_when_its_time_has_come(aws: LocalAws) -> None:
    """Also earlier than the queue's own time, and with its receipts counted."""
    sqs = aws.boto3_client("sqs")
    url = sqs.create_queue(QueueName="webhooks", Attributes={"VisibilityTimeout": "360"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    SqsVisibility(aws.sqs, url).hide(message["ReceiptHandle"], 0)
    (again,) = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    sqs.delete_queue(QueueUrl=url)


def test_a_queue_that_is_gone(aws: LocalAws) -> None:
    """AWS's error becomes one of ours, without the receipt in its message."""
    with pytest.raises(StorageError, match="NonExistentQueue"):
        SqsVisibility(aws.sqs, f"{aws.url}/123456789012/no-such-queue").hide("receipt", 5)
