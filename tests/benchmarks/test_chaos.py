"""The chaos run: that its checks see what is wrong, its proxy disturbs and its plan repeats; and a short run."""

import http.client
import json
import random
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from benchmarks.chaos import checks, kills
from benchmarks.chaos.__main__ import main
from benchmarks.chaos.corruption import flip
from benchmarks.chaos.failures import LeftOver, Lost
from benchmarks.chaos.place import Place
from benchmarks.chaos.proxy import Proxy
from pipeline_core.store.artifacts import Store


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def made(place):
    """A finished artifact."""
    work = place.store / ".partial" / "work"
    work.mkdir(parents=True)
    (work / "weights").write_bytes(b"weights")
    facts = {"stage": "base", "plugin": "tiny_lm", "revision": 1, "label": "tiny_lm", "seed": 0}
    facts |= {"config": {}, "inputs": {}, "data": {}, "metrics": {}, "seconds": 1.0, "versions": {}}
    return Store(place.store).commit("model", "a" * 64, work, **facts)


def test_a_changed_bit_is_seen(place, made):
    checks.no_wrong_artifact(place, {made.key: made.digest})
    flip(place.store / "model" / made.key / "weights", random.Random(0))
    with pytest.raises(Lost, match=r"weights has changed since it was made"):
        checks.no_wrong_artifact(place, {made.key: made.digest})


def test_another_digest_than_undisturbed_is_seen(place, made):
    with pytest.raises(Lost, match="base:tiny_lm aaaaaaaaaaaa has another digest than undisturbed"):
        checks.no_wrong_artifact(place, {made.key: "b" * 64})


def test_a_folder_without_a_manifest_is_seen(place, made):
    (place.store / "model" / ("b" * 64)).mkdir()
    with pytest.raises(Lost, match="is damaged"):
        checks.no_wrong_artifact(place, {made.key: made.digest})


def test_a_stage_that_was_made_again_is_seen(place, made):
    checks.finished_stages_reused(place, {made.key: made})
    kills.empty(place)
    with pytest.raises(Lost, match="base:tiny_lm .* was finished, and was made again"):
        checks.finished_stages_reused(place, {made.key: made})


@pytest.mark.parametrize("left", [".locks/key.lock", ".partial/key", ".trash/key"])
def test_what_is_left_in_the_store_is_seen(place, made, left):
    checks.nothing_left_in_store(place)
    (place.store / left).parent.mkdir(exist_ok=True)
    (place.store / left).write_text("{}")
    with pytest.raises(LeftOver, match=left):
        checks.nothing_left_in_store(place)


def test_the_seed_decides_the_kills_and_every_kind_comes_up():
    planned = [kill for planned in kills.plan(60, 3) for kill in planned]
    assert planned == [kill for planned in kills.plan(60, 3) for kill in planned]
    assert planned != [kill for planned in kills.plan(60, 4) for kill in planned]
    assert [kill.number for kill in planned] == list(range(1, 61))
    by = {way: Counter(kill.kind for kill in planned if kill.scheduled is way) for way in (False, True)}
    assert {*by[False]} == {*kills.BY_COMMAND}
    assert {*by[True]} == {*kills.BY_SCHEDULE}
    assert all(max(counts.values()) - min(counts.values()) <= 1 for counts in by.values())


class Counting(BaseHTTPRequestHandler):
    """A server that answers with what it got, and remembers it."""

    seen: ClassVar[list[bytes]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def proxied():
    Counting.seen = []
    with HTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy(f"http://127.0.0.1:{server.server_address[1]}", random.Random(1)) as proxy:
            yield proxy
            proxy.shutdown()
        server.shutdown()


def post(proxy, text):
    connection = http.client.HTTPConnection(*proxy.server_address[:2], timeout=20)
    connection.request("POST", "/path", json.dumps(text), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_proxy_passes_everything_on_without_a_fault(proxied):
    assert [post(proxied, n) for n in range(20)] == [(200, str(n).encode()) for n in range(20)]
    assert len(Counting.seen) == 20
    assert proxied.faults == 0


def test_the_proxy_answers_500_for_a_share_and_passes_the_rest_on(proxied):
    proxied.manner = "500"
    statuses = Counter(post(proxied, n)[0] for n in range(40))
    assert statuses == {200: 40 - proxied.faults, 500: proxied.faults}
    assert 0 < proxied.faults < 40
    assert len(Counting.seen) == statuses[200]


def test_the_proxy_sends_twice(proxied):
    proxied.manner = "twice"
    assert {post(proxied, n)[0] for n in range(20)} == {200}
    assert 0 < proxied.faults < 20
    assert len(Counting.seen) == 20 + proxied.faults


@pytest.mark.slow
def test_kills_and_faults_are_survived(tmp_path, capsys):
    out = tmp_path / "chaos.jsonl"
    words = ["--kills", "2", "--seed", "5", "--only", "corrupted_cache", "--only", "mlflow_twice"]
    code = main([*words, "--folder", str(tmp_path), "--out", str(out)])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "2 kills and 2 faults survived, 0 lost, 0 left over" in shown.splitlines()[-1]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["kill"] for line in lines if "kill" in line] == [1, 2]
    assert [line["result"] for line in lines if "fault" in line] == ["survived"] * 3
    assert list(tmp_path.iterdir()) == [out], "what was survived leaves no home"
