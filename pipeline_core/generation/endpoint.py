"""An OpenAI-compatible endpoint: one request at a time in every worker, tried again where that can help.

Plain httpx: two routes and one answer are all that is needed of the protocol, and how long to wait for whom is decided
here. The key is read from the environment and stands in the request's header alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import httpx

from pipeline_core.errors import BadInput
from pipeline_core.generation.generators import GeneratorFailed, Question, estimated_tokens, length_of
from pipeline_core.generation.journal import Reply
from pipeline_core.generation.pace import Pace, backoff, retry_after
from pipeline_core.generation.prompts import STOP
from pipeline_core.generation.settings import EndpointSettings

MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers after which another attempt can help."""
QUOTED = 200
"""Characters of an endpoint's own words in a message."""


class Endpoint:
    """A generator behind HTTP."""

    together = 1

    def __init__(self, settings: EndpointSettings, workers: int, stop: threading.Event) -> None:
        self.workers = workers
        self._settings, self._pace = settings, Pace(settings.requests_per_minute, stop)
        self._key = _key_of(settings)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=workers)
        self._client = httpx.Client(headers=headers, timeout=settings.timeout_seconds, limits=limits)

    def answer(self, questions: Sequence[Question], seeds: Sequence[int]) -> list[Reply]:
        """One reply for every question."""
        return [self._answer(question, seed) for question, seed in zip(questions, seeds, strict=True)]

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _answer(self, question: Question, seed: int) -> Reply:
        completes = isinstance(question, str)
        route = "/completions" if completes else "/chat/completions"
        response = self._post(route, self._body(question, seed))
        try:
            choice = (document := response.json())["choices"][0]
            text = choice["text"] if completes else choice["message"]["content"]
            text = text if isinstance(text, str) else ""
        except (ValueError, LookupError, TypeError):
            return Reply("", length_of(question), estimated_tokens(response.text[:QUOTED]), "bad_body")
        if completes:  # not every endpoint stops where it is told to
            text = text[: min((place for stop in STOP if (place := text.find(stop)) >= 0), default=len(text))]
        usage = document.get("usage")
        read, written = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        return Reply(
            text,
            length_of(question) if read is None else read,
            estimated_tokens(text) if written is None else written,
        )

    def _body(self, question: Question, seed: int) -> dict[str, Any]:
        settings = self._settings
        asked: dict[str, Any] = (
            {"prompt": question, "stop": list(STOP)}
            if isinstance(question, str)
            else {"messages": [asdict(turn) for turn in question]}
        )
        sampling = {"temperature": settings.temperature, "top_p": settings.top_p, "max_tokens": settings.max_new_tokens}
        body = {"model": settings.model, **asked, **sampling, "seed": seed, **settings.parameters}
        return {name: value for name, value in body.items() if value is not None}

    def _post(self, route: str, body: dict[str, Any]) -> httpx.Response:
        began, attempt = time.monotonic(), 0
        while True:
            self._pace.wait()
            try:
                response = self._client.post(self._settings.base_url + route, json=body)
            except httpx.TransportError as error:
                trouble, asked_to_wait = f"no answer ({type(error).__name__}: {self._without_key(str(error))})", None
            else:
                if response.is_success:
                    return response
                if response.status_code not in MAY_PASS:
                    raise GeneratorFailed(self._refused(response))
                trouble, asked_to_wait = (
                    f"HTTP {response.status_code}",
                    retry_after(response.headers.get("retry-after")),
                )
            delay = max(backoff(attempt), asked_to_wait or 0)
            if (waited := time.monotonic() - began) + delay > self._settings.retry_seconds:
                raise GeneratorFailed(self._gave_up(trouble, attempt + 1, waited, asked_to_wait))
            if asked_to_wait:
                self._pace.pause(asked_to_wait)
            self._pace.sleep(delay)
            attempt += 1

    def _refused(self, response: httpx.Response) -> str:
        """For an answer that no further attempt would change."""
        code, settings = response.status_code, self._settings
        if code in (401, 403):
            # Endpoints quote parts of a wrong key, so their words are left out.
            holder = (
                f"the key in the environment variable {settings.key_env}"
                if settings.key_env
                else "no key is sent: name its environment variable in `key_env`"
            )
            return f"{self._name} does not let us in (HTTP {code}; {holder})"
        words = self._without_key(" ".join(response.text[: 4 * QUOTED].split()))[:QUOTED]
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
        return f"the endpoint {self._settings.base_url} (model {self._settings.model})"

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "(key)") if self._key else text


def _key_of(settings: EndpointSettings) -> str:
    if settings.key_env is None:
        return ""
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise BadInput(
            f"generator {settings.called}: the environment variable {settings.key_env} (`key_env`) holds no key"
        )
    if not key.isascii() or not key.isprintable():
        raise BadInput(f"generator {settings.called}: the key in {settings.key_env} has characters no header may hold")
    return key


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None
