"""Generator on an OpenAI-compatible endpoint: one request at a time per worker, with retries after transient errors.

It uses plain httpx, because two routes of the protocol suffice and timeouts and retries are decided here. The key is
read from the environment and sent only in the request header.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from pipeline_core.errors import BadInput
from pipeline_core.network.proxies import proxy_for, through
from plugins.extend.llm_rotation._bodies import completion_of
from plugins.extend.llm_rotation._generators import GeneratorFailed, GeneratorInput, estimated_tokens, length_of, quoted
from plugins.extend.llm_rotation._journal import Reply
from plugins.extend.llm_rotation._pace import RequestPace, backoff, retry_after
from plugins.extend.llm_rotation._prompts import STOP
from plugins.extend.llm_rotation._settings import EndpointSettings

MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP status codes that are retried."""
REJECTED = frozenset({400, 413, 422})
"""HTTP status codes that reject a single request, for example because of its length or a content filter."""
SHORTEST_SECRET = 8
"""Shortest key that is removed from replies, in characters; dummy keys of local servers ("none") are plain words."""
LONGEST_BODY = 1 << 22
"""Largest number of response bytes that are read; a longer response is not a completion."""


@dataclass(frozen=True)
class _Answer:
    status: int
    content: bytes
    asked_to_wait: float | None


class Endpoint:
    """Generator that sends requests to an HTTP endpoint."""

    together = 1

    def __init__(self, settings: EndpointSettings, workers: int, stop: threading.Event) -> None:
        self.workers = workers
        self._settings, self._pace = settings, RequestPace(settings.requests_per_minute, stop)
        self._key = settings.key()
        certificates, proxy = _certificates(settings), proxy_for(settings.base_url)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(
            headers=headers,
            timeout=settings.timeout_seconds,
            limits=httpx.Limits(max_connections=workers),
            verify=certificates,
            proxy=proxy.url if proxy else None,
            trust_env=False,  # proxies and certificates are read here, so that messages can name the variable
        )

    def answer(self, questions: Sequence[GeneratorInput], seeds: Sequence[int]) -> list[Reply]:
        """Replies to the questions, in order."""
        return [self._answer(question, seed) for question, seed in zip(questions, seeds, strict=True)]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _answer(self, question: GeneratorInput, seed: int) -> Reply:
        completes = isinstance(question, str)
        answer, attempts = self._post("/completions" if completes else "/chat/completions", self._body(question, seed))
        if answer.status in REJECTED:
            return Reply(f"HTTP {answer.status}: {self._quoted(answer)}", 0, 0, "rejected", attempts)
        completion = completion_of(answer.content, completes=completes)
        if completion is None:
            words = self._quoted(answer)
            return Reply(words, length_of(question), estimated_tokens(words), "bad_body", attempts)
        text = self._without_key(completion.text) if len(self._key) >= SHORTEST_SECRET else completion.text
        read, written = completion.prompt_tokens, completion.completion_tokens
        return Reply(
            text,
            length_of(question) if read is None else read,
            estimated_tokens(text) if written is None else written,
            completion.fault,
            attempts,
        )

    def _body(self, question: GeneratorInput, seed: int) -> dict[str, Any]:
        settings = self._settings
        asked: dict[str, Any] = (
            {"prompt": question, "stop": list(STOP)}
            if isinstance(question, str)
            else {"messages": [asdict(turn) for turn in question]}
        )
        sampling = {"temperature": settings.temperature, "top_p": settings.top_p, "max_tokens": settings.max_new_tokens}
        # `parameters` come last: they may replace what is sent, or remove it by null
        body = {"model": settings.model, **asked, **sampling, "seed": seed, **settings.parameters}
        return {name: value for name, value in body.items() if value is not None}

    def _post(self, route: str, body: dict[str, Any]) -> tuple[_Answer, int]:
        """Final response, and the number of requests sent."""
        began, attempt = time.monotonic(), 0
        while True:
            self._pace.wait()
            try:
                answer = self._send(route, body)
            # UnicodeError: the socket's codec refuses a host name with a part of 64 letters
            except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
                if reason := _hopeless(error):
                    raise GeneratorFailed(f"{self._name}: {self._without_key(reason)}") from error
                trouble, asked_to_wait = f"no answer ({type(error).__name__}: {self._without_key(str(error))})", None
            else:
                # httpx follows no redirect, so 302 is refused below
                if 200 <= answer.status < 300 or answer.status in REJECTED:
                    return answer, attempt + 1
                if answer.status not in MAY_PASS:
                    raise GeneratorFailed(self._refused(answer))
                trouble, asked_to_wait = f"HTTP {answer.status}", answer.asked_to_wait
            delay = max(backoff(attempt), asked_to_wait or 0)
            if (waited := time.monotonic() - began) + delay > self._settings.retry_seconds:
                raise GeneratorFailed(self._gave_up(trouble, attempt + 1, waited, asked_to_wait))
            if asked_to_wait:
                self._pace.pause(asked_to_wait)  # holds for all workers, not for this one alone
            self._pace.sleep(delay)
            attempt += 1

    def _send(self, route: str, body: dict[str, Any]) -> _Answer:
        """Send a request; read at most `LONGEST_BODY` bytes of the response, for at most `timeout_seconds` in all."""
        ends, content = time.monotonic() + self._settings.timeout_seconds, bytearray()
        with self._client.stream("POST", self._settings.base_url + route, json=body) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > LONGEST_BODY:
                    break
                # httpx's timeout is that of one read: a body that trickles never meets it
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("its body takes too long", request=response.request)
            asked_to_wait = retry_after(response.headers.get("retry-after"))
            return _Answer(response.status_code, bytes(content[:LONGEST_BODY]), asked_to_wait)

    def _refused(self, answer: _Answer) -> str:
        """Message for a status code that neither a retry nor another request would change."""
        code, settings = answer.status, self._settings
        if code in (401, 403):
            # Endpoints quote parts of a wrong key, so their words are left out.
            holder = (
                f"the key in the environment variable {settings.key_env}"
                if settings.key_env
                else "no key is sent: name its environment variable in `key_env`"
            )
            return f"{self._name} does not let us in (HTTP {code}; {holder})"
        words = self._quoted(answer)
        if code == 404:
            return f"{self._name} is not found (HTTP 404): check `base_url`, which ends in the version, and `model`; it says: {words}"  # noqa: E501
        return f"{self._name} refuses the request (HTTP {code}): {words}"

    def _gave_up(self, trouble: str, attempts: int, waited: float, asked_to_wait: float | None) -> str:
        asks = f"; it asks to wait {asked_to_wait:.0f} s" if asked_to_wait else ""
        return (
            f"{self._name}: {trouble}, {attempts} attempts in {waited:.0f} s{asks} (`retry_seconds` is "
            f"{self._settings.retry_seconds:g}); check that it runs and what it allows"
        )

    @property
    def _name(self) -> str:
        settings = self._settings
        return f"the endpoint {settings.base_url} (model {settings.model}){through(settings.base_url)}"

    def _quoted(self, answer: _Answer) -> str:
        """Start of the response body. The key is removed before the text is cut, so that no part of it remains."""
        return quoted(self._without_key(answer.content.decode("utf-8", "replace")))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "(key)") if self._key else text


def _certificates(settings: EndpointSettings) -> ssl.SSLContext | bool:
    """Trusted certificates: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else those of httpx."""
    try:
        # False for http: reading all certificates takes time, and nothing needs them
        return httpx.create_ssl_context() if settings.base_url.startswith("https") else False
    except OSError as error:
        raise BadInput(
            f"generator {settings.called}: no certificates can be read from {os.environ.get('SSL_CERT_FILE')!r}, which "
            f"the environment variable SSL_CERT_FILE names ({error.strerror or error})"
        ) from error


def _hopeless(error: Exception) -> str:
    """Reason why a retry cannot help; empty if it can."""
    for cause in _chain(error):
        # the two say that the other side hung up, which may pass
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            words = getattr(cause, "verify_message", "") or cause.reason or str(cause)
            return (
                f"the connection cannot be trusted or does not speak TLS ({words}); check `base_url`, and name the "
                "certificates to trust in the environment variable SSL_CERT_FILE"
            )
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError)):
        return f"it cannot be asked ({type(error).__name__}: {error}); check `base_url`"
    # the message of httpx begins with the proxy's status
    if isinstance(error, httpx.ProxyError) and str(error).startswith("4"):
        return f"the proxy refuses ({error})"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__  # httpx and httpcore wrap the error of `ssl`
