"""Notifications by e-mail, over SMTP."""

from __future__ import annotations

import email.policy
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr

from transforms.io.notify_answer import Refused, Taken
from transforms.io.notify_message import Message
from transforms.io.secret import read_secret

SECURITIES = ("starttls", "tls", "none")
_ANSWER_SECONDS = 10.0
_PERMANENT = 500
# a title that is folded comes out of some readers with a blank before it
_POLICY = email.policy.SMTP.clone(max_line_length=998)


@dataclass(frozen=True)
class EmailChannel:
    """A mail server and who gets the mail.

    A mail's Message-ID is made of the message's ID, so that programs that show mail, and many
    servers, drop one that comes twice; a recovery is shown below its alert.

    Parameters
    ----------
    host, port : str, int
        The mail server.
    sender : str
        Address that mails come from.
    to : tuple of str
        Addresses that they go to.
    security : {"starttls", "tls", "none"}
        TLS after the greeting, from the start, or not at all.
    username : str, optional
        With it, the server is signed in to.
    password : str, optional
        Where the password is: see `transforms.io.secret`.
    """

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    security: str = "starttls"
    username: str | None = None
    password: str | None = None

    @property
    def place(self) -> str:
        """Where messages go, for people."""
        return f"e-mail to {', '.join(self.to)} through {self.host}:{self.port}"

    def send(self, message: Message) -> Taken:
        """Hand it to the server.

        Raises
        ------
        Refused
            The server did not take it, for none of the addresses.
        """
        try:
            password = read_secret("password", self.password) if self.password else ""
        except ValueError as error:
            raise Refused(f"{self.place}: {error}", passing=False) from error
        try:
            server = self._server()
            try:
                if self.username:
                    server.login(self.username, password)
                refused = server.send_message(self._mail(message), self.sender, list(self.to))
            finally:
                _leave(server)
        except smtplib.SMTPRecipientsRefused as error:
            raise Refused(
                f"{self.place}: {_told(error.recipients)}", not _all_permanent(error)
            ) from error
        except smtplib.SMTPResponseException as error:
            said = f"{error.smtp_code} {_text(error.smtp_error)}"
            raise Refused(f"{self.place}: {said}", error.smtp_code < _PERMANENT) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(f"{self.place}: {error}", passing=False) from error
        except ssl.SSLCertVerificationError as error:
            raise Refused(f"{self.place}: {error}", passing=False) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Refused(f"{self.place}: {error}", passing=True) from error
        return Taken("taken by the mail server", _told(refused))

    def _server(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_ANSWER_SECONDS, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=_ANSWER_SECONDS)
        if self.security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        domain = parseaddr(self.sender)[1].rpartition("@")[2]
        mail = EmailMessage(_POLICY)
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        mail["From"], mail["To"], mail["Subject"] = self.sender, ", ".join(self.to), message.title
        mail["Auto-Submitted"] = "auto-generated"  # no out-of-office answers to it
        mail["X-Tidewatch-Event"] = message.kind
        if message.follows:
            mail["In-Reply-To"] = mail["References"] = f"<{message.follows}@{domain}>"
        mail.set_content(message.body + "\n")
        return mail


def _leave(server: smtplib.SMTP) -> None:
    with suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def _told(recipients: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address} refused: {code} {_text(text)}" for address, (code, text) in recipients.items()
    )


def _all_permanent(error: smtplib.SMTPRecipientsRefused) -> bool:
    return all(code >= _PERMANENT for code, _ in error.recipients.values())


def _text(said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return " ".join(text.split())
