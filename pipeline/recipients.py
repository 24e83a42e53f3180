"""A job's channels as the step that tells them takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.job import Job
from pipeline.job_notify import Channel
from transforms.io.notify_message import Wording
from transforms.io.notify_plan import Policy, QuietHours
from transforms.records import MICROSECONDS

if TYPE_CHECKING:
    from transforms.io.notify import Recipient


def recipients_of(job: Job) -> dict[str, Recipient]:
    """Every channel of the job, by name; the clients' libraries are loaded only for these."""
    from transforms.io.notify import Recipient

    notify = job.sinks.notify
    if notify is None:
        return {}
    return {
        each.title: Recipient(_channel(each), _policy(each, notify.time_zone))
        for each in notify.channels
    }


def wording_of(job: Job) -> Wording:
    """How the job's messages are written."""
    notify = job.sinks.notify
    if notify is None:
        return Wording(job.job)
    return Wording(job.job, notify.time_zone, notify.dashboard_url or "")


def _channel(given: Channel) -> Any:
    if given.sns:
        from transforms.io.notify_sns import SnsChannel

        return SnsChannel(given.sns.topic_arn, given.sns.endpoint_url)
    if given.email:
        from transforms.io.notify_email import EmailChannel

        mail = given.email
        return EmailChannel(
            host=mail.host,
            port=mail.port_number,
            sender=mail.sender,
            to=mail.to,
            security=mail.security,
            username=mail.username,
            password=mail.password,
        )
    if given.apprise is None:
        raise ValueError("the channel has no kind")
    from transforms.io.notify_apprise import AppriseChannel

    return AppriseChannel(given.apprise.url)


def _policy(given: Channel, time_zone: str) -> Policy:
    quiet = None
    if hours := given.quiet_hours:
        quiet = QuietHours(hours.start, hours.end, time_zone, hours.urgent_score)
    return Policy(
        messages_per_minute=given.messages_per_minute,
        digest_from=given.digest_from,
        recoveries=given.recoveries,
        quiet_hours=quiet,
        give_up_after=given.give_up_after // MICROSECONDS,
    )
