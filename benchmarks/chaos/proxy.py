"""A proxy in front of a server that answers 500, hangs, or sends requests twice, for a share of the requests."""

from __future__ import annotations

import contextlib
import http.client
import random
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Manner = Literal["500", "hangs", "twice"]
HANG_SECONDS = 25.0
"""Longer than the time in which tracking expects an answer."""
SHARES = {"500": 0.2, "hangs": 0.04, "twice": 0.5}
DROPPED = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade-insecure-requests"}


class Proxy(ThreadingHTTPServer):
    """A proxy on a free port of 127.0.0.1 before `target`. `manner` None: it passes everything on."""

    daemon_threads = True

    def __init__(self, target: str, rng: random.Random) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.manner: Manner | None = None
        self.faults = 0
        self._rng, self._guard = rng, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draws(self) -> Manner | None:
        """The fault of the next request, if it gets one."""
        with self._guard:
            if self.manner is None or self._rng.random() >= SHARES[self.manner]:
                return None
            self.faults += 1
            return self.manner

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that give up are no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.close_connection = True  # a connection for each request keeps this simple
        if "upgrade" in self.headers.get("Connection", "").lower():
            self._tunnel()
            return
        body = self._body()
        fault = self.server.draws()
        if fault == "hangs":
            time.sleep(HANG_SECONDS)
            return  # the connection closes without an answer
        if fault == "500":
            self._answer(500, [("Content-Type", "text/plain")], b"the proxy has a fault")
            return
        if fault == "twice":
            self._forward(body)
        self._answer(*self._forward(body))

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.target, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in DROPPED]
            return answer.status, kept, answer.read()
        except OSError as error:
            return 502, [], str(error).encode()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _tunnel(self) -> None:
        """Pass a WebSocket through: what both sides send after the request's head."""
        with socket.create_connection(self.server.target) as other, contextlib.suppress(OSError):
            lines = [
                self.raw_requestline.decode().strip(),
                *(f"{name}: {value}" for name, value in self.headers.items()),
            ]
            other.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            while True:
                ready, _, _ = select.select([self.connection, other], [], [])
                for side in ready:
                    if not (data := side.recv(65536)):
                        return
                    (other if side is self.connection else self.connection).sendall(data)
