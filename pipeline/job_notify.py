"""Who is told of alerts and recoveries, how, and how much at once.

The file holds no secret: what is one is given by the name of an environment variable, or as
``file:/path``, and read on the worker whenever something is sent.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pipeline.job_errors import Mistake, describe, rule_broken
from pipeline.job_section import (
    PositiveDuration,
    Section,
    Text,
    TextOrTexts,
    TimeZone,
    exactly_one,
    repeated,
    written,
)

CHANNEL_KINDS = ("sns", "email", "apprise")
"""Keys of `Channel` of which exactly one is given: how it tells."""
SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+|[^<>@]*<[^@\s<>]+@[^@\s<>]+>")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_WEB = re.compile(r"https?://[^\s/@]+(/[^\s@]*)?")


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        # what stands there may be the secret itself: it is not repeated
        raise ValueError("is neither the name of an environment variable nor file:/path")
    return value


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"{describe(value)} is not an e-mail address; write name@example.com")
    return value


def _clock(value: object) -> int:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            f"{describe(value)} is not a time of day; write hours and minutes, such as '22:00'"
        )
    return int(found[1]) * 60 + int(found[2])


def _web_address(value: str) -> str:
    if not _WEB.fullmatch(value):
        raise ValueError(
            f"{describe(value)} is not a web address; write https://host/path, without credentials"
        )
    return value


Reference = Annotated[Text, AfterValidator(_reference)]
"""Name of an environment variable, or ``file:/path``: where a secret is."""
Address = Annotated[Text, AfterValidator(_address)]
ClockTime = Annotated[
    int,
    BeforeValidator(_clock),
    WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK.pattern})$"}),
]
"""Minutes since midnight; HH:MM in the file."""
WebAddress = Annotated[Text, AfterValidator(_web_address)]


class Sns(Section):
    """An SNS topic; credentials are those of where the job runs."""

    topic_arn: Text = Field(
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?$",
        description="Topic: arn:aws:sns:REGION:ACCOUNT:NAME",
    )
    endpoint_url: Text | None = Field(
        default=None, description="Address of another server than AWS's, for tests"
    )


class Email(Section):
    """A mail server, and who gets the mails."""

    host: Text = Field(description="Mail server")
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Its port, 1 to 65535; default 587 with starttls, 465 with tls, 25 with none",
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="TLS after the greeting, TLS from the start, or none"
    )
    sender: Address = Field(alias="from", description="Address that mails come from")
    to: TextOrTexts = Field(description="Addresses that mails go to; one, or a list")
    username: Text | None = Field(default=None, description="Name to sign in with")
    password: Reference | None = Field(
        default=None,
        description="Password to sign in with: the name of an environment variable, or file:/path, "
        "read on the worker",
    )

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_address(each) for each in to)

    @model_validator(mode="after")
    def _sign_in(self) -> Email:
        if (self.username is None) != (self.password is None):
            missing = "password" if self.password is None else "username"
            raise rule_broken(((missing,), "missing; username and password go together"))
        return self

    @property
    def port_number(self) -> int:
        """The port, given or default."""
        return self.port or SMTP_PORTS[self.security]


class Apprise(Section):
    """A service that apprise knows: Slack, Teams, PagerDuty, a webhook (``json://``)."""

    url: Reference = Field(
        description="Address of the service as apprise has it, which holds its secrets: the name "
        "of an environment variable, or file:/path, read on the worker"
    )


class QuietHours(Section):
    """When a channel is told nothing, or only what is urgent."""

    start: ClockTime = Field(description="Time of day, HH:MM, from which on it is quiet")
    end: ClockTime = Field(
        description="Time of day, HH:MM, of its end; before start: of the next day"
    )
    urgent_score: float = Field(
        default=100.0,
        ge=0,
        le=100,
        description="0 to 100: alerts whose score is above it are told all the same",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> QuietHours:
        if self.start == self.end:
            raise rule_broken((("end",), "is the start; a whole day cannot be quiet"))
        return self


class Channel(Section):
    """One way to tell people."""

    name: Text | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=60,
        description="Unique name: letters, digits, _ . -, starting with a letter or digit, at most "
        "60; default its kind. It is part of every delivery's ID",
    )
    sns: Sns | None = Field(default=None, description="An SNS topic")
    email: Email | None = Field(default=None, description="E-mail")
    apprise: Apprise | None = Field(
        default=None, description="Slack, Teams, PagerDuty, a webhook, and what else apprise knows"
    )
    recoveries: bool = Field(default=True, description="Tell when an alert is over, too")
    messages_per_minute: int = Field(
        default=10,
        ge=1,
        le=60,
        description="Most messages in a minute, 1 to 60; what is left goes into one digest",
    )
    digest_from: int = Field(
        default=5,
        ge=2,
        le=60,
        description="So many alerts at once, 2 to 60, become one digest",
    )
    quiet_hours: QuietHours | None = Field(
        default=None, description="What comes then is told afterwards, in a digest"
    )
    give_up_after: PositiveDuration = written(
        "1d", "Duration for which a delivery that failed is tried again"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Channel:
        exactly_one(self, CHANNEL_KINDS)
        return self

    @property
    def title(self) -> str:
        """The name, given or default."""
        return self.name or next(kind for kind in CHANNEL_KINDS if getattr(self, kind))


class Notify(Section):
    """Who is told of alerts and recoveries."""

    channels: Annotated[tuple[Channel, ...], Field(strict=False)] = Field(
        min_length=1, description="Ways to tell people; at least one"
    )
    dashboard_url: WebAddress | None = Field(
        default=None, description="Address of the dashboard, for links in messages"
    )
    time_zone: TimeZone = Field(
        default="UTC", description="IANA time zone of quiet hours and of times in messages"
    )

    @field_validator("channels")
    @classmethod
    def _are_told_apart(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        mistakes: list[Mistake] = [
            ((i, "name"), f"{describe(name)} is another channel's name; names must be unique")
            for i, name in repeated(channel.title for channel in channels)
        ]
        if mistakes:
            raise rule_broken(*mistakes)
        return channels
