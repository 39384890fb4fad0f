"""An endpoint that works, is busy, refuses, talks nonsense or is not there: against a real server on loopback."""

import contextlib
import json
import socket
import threading
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from pipeline_core.errors import BadInput
from plugins.extend.llm_rotation._endpoint import Endpoint
from plugins.extend.llm_rotation._generators import GeneratorFailed
from plugins.extend.llm_rotation._pace import RequestPace, Stopping, backoff, retry_after
from plugins.extend.llm_rotation._prompts import Message
from plugins.extend.llm_rotation._settings import EndpointSettings
from tests.plugins.extend.scripted_server import completion, serving

CHAT = (Message("system", "be brief"), Message("user", "hello"))
KEY = "sk-very-secret-7f3a"


def ask(url, question="Say", stop=None, **settings):
    settings = {"retry_seconds": 5, "timeout_seconds": 5, "model": "small", **settings}
    endpoint = Endpoint(EndpointSettings(base_url=url, **settings), 2, stop or threading.Event())
    try:
        return endpoint.answer([question], [7])[0]
    finally:
        endpoint.close()


def always(status, headers=None, content=b"{}"):
    return lambda server, body: (status, headers or {}, content)


def test_both_styles_reach_their_routes_with_the_key_in_the_header_alone(monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    with serving(lambda server, body: completion(body, "well\n\nAbout: x")) as server:
        assert ask(server.url, "Say", key_env="MY_KEY").text == "well"
        reply = ask(server.url, CHAT, key_env="MY_KEY", parameters={"max_tokens": None, "max_completion_tokens": 9})
    assert (reply.text, reply.tokens, reply.fault) == ("well\n\nAbout: x", 120, "")
    assert [headers["path"] for headers in server.headers] == ["/v1/completions", "/v1/chat/completions"]
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    first, second = server.bodies
    assert (first["prompt"], first["seed"], first["max_tokens"], first["model"]) == ("Say", 7, 160, "small")
    assert second["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert "max_tokens" not in second
    assert second["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"the endpoint http://127.0.0.1:\d+/v1 \(model small\) does not let us in \(HTTP 401; the key .* MY_KEY"),
        (403, r"does not let us in \(HTTP 403; the key in the environment variable MY_KEY\)"),
        (404, r"is not found \(HTTP 404\): check `base_url`, which ends in the version, and `model`"),
        (402, r"refuses the request \(HTTP 402\): no such parameter, \(key\)"),
        (302, r"refuses the request \(HTTP 302\)"),
    ],
)  # fmt: skip
def test_what_no_attempt_can_mend_fails_at_once_and_tells_no_key(monkeypatch, status, words):
    monkeypatch.setenv("MY_KEY", KEY)
    content = f"no such parameter, {KEY}".encode()
    answer = always(status, {"Location": "/elsewhere"}, content)
    with serving(answer) as server, pytest.raises(GeneratorFailed, match=words) as caught:
        ask(server.url, key_env="MY_KEY")
    assert len(server.bodies) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_turned_down_is_a_reply_with_a_fault(status):
    with serving(always(status, content=b"too long")) as server:
        reply = ask(server.url)
    assert (reply.fault, reply.text, reply.tokens) == ("rejected", f"HTTP {status}: too long", 0)


@pytest.mark.parametrize("status", [200, 400, 404])
def test_no_part_of_a_key_stays_where_words_are_cut(monkeypatch, status):
    monkeypatch.setenv("MY_KEY", KEY)
    for before in range(200 - len(KEY), 201, 6):
        with serving(always(status, content=("x" * before + KEY).encode())) as server:
            try:
                said = ask(server.url, key_env="MY_KEY").text
            except GeneratorFailed as error:
                said = str(error)
        assert "xxx" in said
        assert KEY[:4] not in said


def test_a_reply_that_repeats_the_key_does_not_keep_it(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(lambda server, body: completion(body, f"it is {KEY}.")) as server:
        assert ask(server.url, key_env="MY_KEY").text == "it is (key)."


def test_a_body_that_cannot_be_decoded_is_asked_for_again():
    def garbled_once(server, body):
        if len(server.bodies) == 1:
            return 200, {"Content-Encoding": "gzip"}, b"not gzip"
        return completion(body, "there")

    with serving(garbled_once) as server:
        reply = ask(server.url)
    assert (reply.text, reply.attempts) == ("there", 2)


def test_a_body_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr("plugins.extend.llm_rotation._endpoint.LONGEST_BODY", 1000)
    with serving(lambda server, body: completion(body, "on and " * 1000)) as server:
        assert ask(server.url).fault == "bad_body"


def test_a_body_that_trickles_has_a_deadline():
    """Every byte comes in time, and the whole does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=trickle, args=(server,), daemon=True).start()
        with pytest.raises(GeneratorFailed, match="its body takes too long"):
            ask(f"http://127.0.0.1:{server.getsockname()[1]}/v1", timeout_seconds=1, retry_seconds=0)


def trickle(server):
    connection, _ = server.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("parameters", "longest"),
    [
        ({}, 160),
        ({"max_tokens": 500}, 500),
        ({"max_tokens": None, "max_completion_tokens": 900}, 900),
        ({"max_tokens": 20, "n": 3}, 60),
        ({"max_tokens": None}, None),
    ],
)
def test_the_longest_reply_is_what_the_body_asks_for(parameters, longest):
    assert EndpointSettings(base_url="http://a/v1", model="m", parameters=parameters).longest_reply == longest


@pytest.mark.parametrize("key", [None, "", "  ", "schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_named_by_its_variable(monkeypatch, key):
    monkeypatch.delenv("MY_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(BadInput, match="MY_KEY") as caught:
        ask("http://127.0.0.1:9/v1", key_env="MY_KEY")
    assert not key or key.strip() == "" or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:80", "ftp://x/v1", "http://user:pw@x/v1", "http://x/v1?key=1", "http:///v1"),
        *("http://x:99999/v1", "http://x:0/v1", "http://x:port/v1", "http://[x/v1"),
    ],
)
def test_addresses_hold_no_secrets(url):
    with pytest.raises(ValueError, match="base_url") as caught:
        EndpointSettings(base_url=url, model="m")
    assert "key_env" in str(caught.value) or "http://localhost" in str(caught.value)


def test_a_busy_endpoint_is_waited_for_as_long_as_it_asks():
    def busy_twice(server, body):
        if len(server.bodies) <= 2:
            return 429, {"Retry-After": "1"}, b"slow down"
        return completion(body, "there")

    began = time.monotonic()
    with serving(busy_twice) as server:
        assert ask(server.url, retry_seconds=60).text == "there"
    assert time.monotonic() - began >= 2
    assert len(server.bodies) == 3


def test_a_busy_endpoint_is_not_waited_for_for_ever():
    with serving(always(429)) as server, pytest.raises(GeneratorFailed, match=r"HTTP 429, \d+ attempts in .* s \("):
        ask(server.url, retry_seconds=1.5)
    assert len(server.bodies) >= 2
    answer, words = always(503, {"Retry-After": "3600"}), "HTTP 503, 1 attempts .*it asks to wait 3600 s"
    with serving(answer) as server, pytest.raises(GeneratorFailed, match=words):
        ask(server.url, retry_seconds=60)
    assert len(server.bodies) == 1


def test_an_endpoint_that_is_not_there_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(
        GeneratorFailed, match=rf"the endpoint {url} \(model small\): no answer \(ConnectError.*check that"
    ):
        ask(url, retry_seconds=1)


def test_a_slow_reply_is_asked_for_again():
    def slow_once(server, body):
        if len(server.bodies) == 1:
            time.sleep(1.5)
        return completion(body, "there")

    with serving(slow_once) as server:
        assert ask(server.url, timeout_seconds=0.5).text == "there"


@pytest.mark.parametrize(
    "content",
    [
        b"<html>hello</html>",
        b"\xff\xfe",
        b"",
        b"[]",
        b"null",
        json.dumps({"choices": []}).encode(),
        json.dumps({"choices": [{"message": None}]}).encode(),
        json.dumps({"error": {"message": "x"}}).encode(),
    ],
)
def test_a_body_that_is_no_completion_is_a_reply_with_a_fault(content):
    with serving(always(200, content=content)) as server:
        for question in ("Say", CHAT):
            assert ask(server.url, question).fault == "bad_body"


@pytest.mark.parametrize("count", ["x", -1, 10**400, None, [1]])
def test_a_reply_without_counts_is_estimated(count):
    content = json.dumps({"choices": [{"text": "well"}], "usage": {"prompt_tokens": count, "completion_tokens": count}})
    with serving(always(200, content=content.encode())) as server:
        reply = ask(server.url, "Say it again")
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("well", 3, 1)


def test_waiting_ends_with_the_rotation():
    stop = threading.Event()
    with serving(always(429, {"Retry-After": "50"})) as server:
        threading.Timer(0.5, stop.set).start()
        with pytest.raises(Stopping):
            ask(server.url, stop=stop, retry_seconds=100)


def test_a_bucket_lets_through_what_its_rate_allows():
    pace, began = RequestPace(600, threading.Event()), time.monotonic()
    for _ in range(15):
        pace.wait()
    assert time.monotonic() - began >= 0.45, "10 at once, and 5 at 10 a second"


def test_a_bucket_does_not_fill_beyond_one_second_of_requests(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("plugins.extend.llm_rotation._pace.time", SimpleNamespace(monotonic=lambda: clock.now))
    pace = RequestPace(600, threading.Event())
    monkeypatch.setattr(pace, "sleep", lambda seconds: setattr(clock, "now", clock.now + max(seconds, 0)))
    clock.now = 3600  # an hour without a request
    for _ in range(30):
        pace.wait()
    assert clock.now - 3600 == pytest.approx(2), "10 at once, and 20 at 10 a second"


def test_headers_that_say_when_to_come_back():
    assert retry_after("7") == 7
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert 0 <= retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert all(0.25 <= backoff(0) <= 0.5 and 30 <= backoff(40) <= 60 for _ in range(20))


def said(message, finish="stop", **choice):
    choices = [{"message": {"role": "assistant", **message}, "finish_reason": finish, **choice}]
    return json.dumps({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}).encode()


def parts(*contents):
    return {"content": list(contents)}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (parts({"type": "text", "text": "well"}), "well"),
        (parts({"type": "text", "text": "we"}, {"type": "text", "text": "ll"}), "well"),
        (parts({"type": "reasoning", "text": "a draft"}, {"type": "output_text", "text": "well"}), "well"),
        (
            parts({"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}, {"type": "text", "text": "well"}),
            "well",
        ),
        (parts("we", {"text": "ll"}, {"type": "image_url", "image_url": {}}, None, 3), "well"),
        (parts({"type": "text", "text": {"value": "well", "annotations": []}}), "well"),
        ({"content": {"type": "text", "text": "well"}}, "well"),
        ({"content": "well", "reasoning_content": "a draft"}, "well"),
        ({"content": "well", "refusal": None, "tool_calls": []}, "well"),
        ({"content": "a\ud800b"}, "a\ufffdb"),
    ],
)
def test_d14_contents_in_parts_are_read(message, text):
    with serving(always(200, content=said(message))) as server:
        reply = ask(server.url, CHAT)
    assert (reply.text, reply.fault, reply.tokens) == (text, "", 13)


@pytest.mark.parametrize(
    ("message", "finish", "fault", "words"),
    [
        ({"content": None}, "stop", "no_text", "finish_reason stop"),
        ({}, None, "no_text", "finish_reason none"),
        ({"content": " \n"}, "stop", "no_text", "finish_reason stop"),
        ({"content": []}, "stop", "no_text", "finish_reason stop"),
        (parts({"type": "reasoning", "text": "a draft"}), "stop", "no_text", "finish_reason stop"),
        ({"content": None, "reasoning_content": "I think"}, "stop", "no_text", "reasoning_content: I think"),
        ({"content": None, "reasoning": "I think"}, "length", "truncated", "reasoning: I think; finish_reason length"),
        ({"content": None, "tool_calls": [{"id": "x"}]}, "tool_calls", "no_text", 'tool_calls: [{"id": "x"}]'),
        ({"content": None, "refusal": "I will not."}, "stop", "refused", "I will not."),
        (parts({"type": "refusal", "refusal": "no"}), "content_filter", "filtered", "finish_reason content_filter"),
        ({"content": '{"prompt": "a'}, "length", "truncated", '{"prompt": "a'),
        ({"content": "cut"}, "MAX_TOKENS", "truncated", "cut"),
        ({"content": ""}, "content_filter", "filtered", "finish_reason content_filter"),
        ({"content": "half"}, "SAFETY", "filtered", "half"),
    ],
)
def test_d14_why_there_is_no_text_is_told_apart(message, finish, fault, words):
    with serving(always(200, content=said(message, finish))) as server:
        reply = ask(server.url, CHAT)
    assert (reply.fault, reply.tokens) == (fault, 13), "what was paid for counts"
    assert reply.text.startswith(words)


def test_d1_a_completion_that_reaches_its_stop_is_whole_and_one_that_does_not_is_cut():
    def script(server, body):
        choice = {"text": "well\n\nAbout: x" if len(server.bodies) == 1 else "well and so", "finish_reason": "length"}
        return 200, {}, json.dumps({"choices": [choice]}).encode()

    with serving(script) as server:
        assert (ask(server.url).text, ask(server.url).fault) == ("well", "truncated")


@pytest.mark.parametrize(
    "content",
    [
        b'data: {"choices": [{"delta": {"content": "we"}}]}\n\ndata: [DONE]\n\n',
        b'{"choices": [{"delta": {"content": "we"}}]}',
        b'{"error": {"message": "overloaded", "code": 502}}',
        b'{"choices": null}',
        b'{"choices": {"0": {}}}',
        b'{"choices": "abc"}',
        b'{"choices": [[]]}',
        b'{"choices": [{"message": "well", "text": 3, "finish_reason": []}]}',
        b'[{"choices": [{"text": "well"}]}]',
        b'"well"',
        b"[" * 100_000,
        b'{"choices": [{"text": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b"<!DOCTYPE html><html>" + b"x" * 10_000,
        b"\x00\x01\x1b[31m",
    ],
)
def test_d14_any_other_body_is_quoted_on_one_short_line(content):
    with serving(always(200, content=content)) as server:
        for question in ("Say", CHAT):
            reply = ask(server.url, question)
            assert reply.fault in ("bad_body", "no_text")
            assert len(reply.text) <= 200 and reply.text.isprintable()


def test_d14_a_text_without_end_is_kept_in_part():
    with serving(lambda server, body: completion(body, "on and " * 100_000)) as server:
        reply = ask(server.url, CHAT)
    assert (reply.fault, len(reply.text)) == ("truncated", 100_000)
