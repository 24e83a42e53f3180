"""AWS on loopback for tests: moto's server, with a front that answers with faults when told to."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_NOT_SENT = {"transfer-encoding", "connection", "content-length", "expect"}
_HOP_BY_HOP = {"transfer-encoding", "connection", "content-length", "date", "server"}


class AwsServer:
    """Answers S3, Glue, SNS and SQS over HTTP; ``with AwsServer() as server``.

    Attributes
    ----------
    url : str
        What clients are to be given as their endpoint.
    faults : deque of (status, headers, body)
        Answers that the next requests get instead of their own.
    requests : list of str
        ``METHOD /path`` of every request so far.
    bodies : list of bytes
        What these requests brought.
    """

    def __enter__(self):
        self.faults, self.requests, self.bodies = deque(), [], []
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self._behind = self._moto.get_host_and_port()
        self._front = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._front.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._front.server_port}"
        return self

    def __exit__(self, *_):
        self._front.shutdown()
        self._thread.join()
        self._front.server_close()
        self._moto.stop()

    def fail(self, status, body=b"", times=1, **headers):
        """Answer the next requests so."""
        self.faults.extend([(status, headers, body)] * times)

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self._body()
                server.requests.append(f"{self.command} {self.path}")
                server.bodies.append(body)
                if server.faults:
                    self._answer(*server.faults.popleft())
                    return
                behind = http.client.HTTPConnection(*server._behind, timeout=20)
                sent = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_SENT}
                behind.request(self.command, self.path, body, sent)
                answer = behind.getresponse()
                content = answer.read()
                kept = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
                length = answer.getheader("Content-Length")
                behind.close()
                self._answer(answer.status, kept, content, length)

            def _body(self):
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, status, headers, content, length=None):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                shown = length if self.command == "HEAD" and length else str(len(content))
                self.send_header("Content-Length", shown)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

            def log_message(self, *_):
                pass

        return Handler
