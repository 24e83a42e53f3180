"""The bucket for the lake, and the SNS topic with a queue that keeps what it delivers."""

from __future__ import annotations

import json
from typing import Any

from examples.anybooks.live.stack import NAME, REGION, Stack

_ACCOUNT = "123456789012"
TOPIC_ARN = f"arn:aws:sns:{REGION}:{_ACCOUNT}:{NAME}"
_KEPT = "sns.jsonl"


def make_ends(stack: Stack) -> None:
    """Create bucket, topic, queue and subscription; what is there already stays."""
    stack.aws("s3").create_bucket(Bucket=NAME)
    queue = stack.aws("sqs").create_queue(QueueName=NAME)["QueueUrl"]
    asked = stack.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sns = stack.aws("sns")
    topic = sns.create_topic(Name=NAME)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])


def delivered(stack: Stack) -> list[dict[str, Any]]:
    """All that SNS has delivered so far, in its order: what the queue has is moved to a file."""
    sqs, file = stack.aws("sqs"), stack.folder / _KEPT
    queue = sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    with file.open("a", encoding="utf-8") as kept:
        while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for each in found:
                kept.write(json.dumps(json.loads(each["Body"])) + "\n")
            kept.flush()
            for each in found:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
