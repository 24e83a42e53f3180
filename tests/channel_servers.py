"""What notifications are sent to in tests: a webhook, a mail server, SNS; all real, on loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import socket
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


class Webhook:
    """Takes JSON by POST, as apprise's ``json://`` sends it; ``with Webhook() as hook``.

    Attributes
    ----------
    bodies : list of dict
        What was accepted.
    answers : deque of int
        Statuses that the next requests get in place of 200; what they bring is not accepted.
    asked : int
        Requests so far.
    on_accept : callable
        Called with each body between its acceptance and the answer.
    """

    def __enter__(self):
        self.bodies, self.answers, self.asked = [], deque(), 0
        self.on_accept = lambda body: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked += 1
                status = hook.answers.popleft() if hook.answers else 200
                if status == 200:
                    hook.bodies.append(body)
                    hook.on_accept(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *unused):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"json://127.0.0.1:{self._server.server_port}/hook-token-123"
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def ids(self):
        """Delivery ID of each accepted message."""
        return [body["message"].rpartition("Delivery: ")[2] for body in self.bodies]


class MailCatcher:
    """Keeps every mail; ``with MailCatcher() as catcher``.

    Attributes
    ----------
    mails : list of EmailMessage
        What was accepted.
    replies : deque of str
        What the next mails get in place of ``250 OK``, after their data.
    refuses : dict of str to str
        Addresses that get this in place of ``250 OK``.
    """

    def __enter__(self):
        self.mails, self.replies, self.refuses = [], deque(), {}
        self._controller = _Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()
        self.port = self._controller.port
        return self

    def __exit__(self, *unused):
        self._controller.stop()

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.replies:
            return self.replies.popleft()
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


class _Controller(Controller):
    def factory(self):
        return SMTP(self.handler, loop=self.loop, **self.SMTP_kwargs)

    def _create_server(self):
        return asyncio.wait_for(super()._create_server(), 10)


def free_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
