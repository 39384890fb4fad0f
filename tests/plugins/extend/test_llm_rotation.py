"""The stage against a scripted server: what is accepted, what is dropped, when it ends, and what a kill leaves."""

import collections
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import open_table
from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.key import Job, key_of
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from plugins.extend.llm_rotation._requests import ROUND
from plugins.extend.llm_rotation.plugin import LlmRotationConfig
from tests.plugins.extend.scripted_server import about_of, completion, good_pair, serving, slowly

SEEDS = DataRef(entry="sandbox_pairs", split="train", rows=200)
IN_PROCESS = ExecutionSettings(launch="in_process", device="cpu")


def endpoint(server, model="one", **settings):
    address = server if isinstance(server, str) else server.url
    return {"kind": "openai", "base_url": address, "model": model, "retry_seconds": 1, **settings}


def job(*generators, data=SEEDS, **settings):
    config = {"name": "llm_rotation", "generators": list(generators), "rows": 22, **settings}
    config = LlmRotationConfig.model_validate(config).model_dump(mode="json")
    return Job(stage="extend", config=config, label="llm_rotation", data=data, runner=IN_PROCESS)


def make(store, *generators, **settings):
    return run_stage(job(*generators, **settings), Store(store), load_registry())


def rows_of(result):
    return list(open_table(result.path / "rows.parquet"))


def requests_of(result):
    return [json.loads(line) for line in (result.path / "requests.jsonl").read_text().splitlines()]


def test_generators_take_turns_and_every_drop_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-not-to-be-seen")
    with serving() as one, serving() as two:
        generators = [
            endpoint(one, "org/first", key_env="A_KEY"),
            endpoint(two, "second:7b", style="completion", key_env="A_KEY"),
        ]
        result = make(tmp_path, *generators)
    rows, requests = rows_of(result), requests_of(result)
    assert len(rows) == 22 == result.metrics["rows"]
    by_domain = collections.Counter(row["domain"] for row in rows)
    assert set(by_domain.values()) == {2}, "even shares of 11 domains"
    made_by = collections.Counter(row["made_by"] for row in rows)
    assert set(made_by) == {"llm:org/first", "llm:second:7b"}
    assert min(made_by.values()) >= 8
    seeds = {row["id"]: row for row in Catalog.from_environment().load(SEEDS)}
    for row in rows:
        assert row["licence"] == "Apache-2.0"
        assert row["label"] is None
        assert row["source"] == "llm_rotation"
        assert len(row["examples"]) == 3
        assert row["source_id"] == row["examples"][0]
        assert {seeds[id_]["domain"] for id_ in row["examples"]} == {row["domain"]}
        assert row["group"]
    malformed = sum(request["dropped"] == "malformed" for request in requests)
    assert malformed > 0, "the script misbehaves at times"
    drops = json.loads((result.path / "drops.json").read_text())
    assert drops["dropped"]["malformed"] == malformed == result.metrics["dropped/malformed"]
    by_generator = [drops["generators"][label]["dropped"].get("malformed", 0) for label in ("first", "second-7b")]
    assert sum(by_generator) == malformed
    assert result.metrics["generator/first/accepted"] == made_by["llm:org/first"]
    assert [request["request"] for request in requests] == list(range(len(requests)))
    assert {request["row"] for request in requests if request["row"]} == {row["id"] for row in rows}
    assert result.metrics["tokens"] == 120 * len(requests)
    written = b"".join(path.read_bytes() for path in result.path.iterdir())
    assert b"not-to-be-seen" not in written


def test_concurrency_changes_no_byte(tmp_path):
    digests, busiest = set(), []
    for concurrency in (1, 6):
        with serving(slowly(0.02)) as one, serving() as two:
            generators = [endpoint(one), endpoint(two, "two")]
            result = make(tmp_path / str(concurrency), *generators, concurrency=concurrency)
        digests.add(result.digest)
        busiest.append(one.busiest)
    assert len(digests) == 1
    assert busiest[0] == 1 < busiest[1] <= 6


REPLIES = {
    "refused": lambda body: "I'm sorry, but I can't write that.",
    "malformed": lambda body: "Prompt: none",
    "bad_body": None,
    "rejected": None,
    "too_short": lambda body: json.dumps({"prompt": about_of(body), "favourable": "ok", "unfavourable": "no"}),
    "too_long": lambda body: good_pair(body).replace("They had read", "They had read " + "on and " * 60),
    "equal_pair": lambda body: json.dumps(
        {"prompt": f"The {about_of(body)}", "favourable": "Were all there.", "unfavourable": "were ALL there"}
    ),
    "copied": lambda body: body["messages"][1]["content"].splitlines()[1].split(": ", 1)[1],
    "off_domain": lambda body: good_pair(body).replace(about_of(body), "nobody"),
}


FAULTS = {"bad_body": (200, {}, b"<html>"), "rejected": (400, {}, b"filtered")}


@pytest.mark.parametrize("reason", REPLIES)
def test_what_cannot_be_used_is_dropped_with_its_reason(tmp_path, reason):
    def script(server, body):
        if len(server.bodies) > 3:
            return completion(body, good_pair(body))
        return completion(body, REPLIES[reason](body)) if REPLIES[reason] else FAULTS[reason]

    with serving(script) as server:
        result = make(tmp_path, endpoint(server), rows=2, domains=["age"], max_requests=5, concurrency=1)
    assert result.metrics[f"dropped/{reason}"] == 3 == result.metrics["dropped"]
    assert len(rows_of(result)) == 2


def test_no_row_at_all_is_a_failure_also_where_fewer_are_allowed(tmp_path):
    with serving(lambda server, body: completion(body, "no")) as server:
        for allow_fewer, words in ((True, "Without a row there is no artifact"), (False, "it asks everything again")):
            with pytest.raises(StageFailed, match=f"0 of 22 rows in 5 requests .*malformed 5 .*{words}"):
                make(tmp_path, endpoint(server), max_requests=5, allow_fewer=allow_fewer)


def test_replies_with_a_fault_are_asked_for_again(tmp_path):
    with serving(lambda server, body: (200, {}, b"<html>hello</html>")) as wrong:
        words = r'one gave no text in its first 6 requests \(bad_body 6; the first bad_body: "<html>hello</html>"\)'
        with pytest.raises(StageFailed, match=words):
            make(tmp_path, endpoint(wrong), give_up_after=6)
    with serving() as server:
        assert make(tmp_path, endpoint(server), give_up_after=6).metrics["rows"] == 22


def test_a_generator_left_out_is_asked_again_by_the_next_run(tmp_path):
    """The first run ends for want of requests, with a key that is wrong; the second has the right one."""
    accepts = threading.Event()

    def guarded(server, body):
        return completion(body, good_pair(body)) if accepts.is_set() else (401, {}, b"")

    with serving() as good, serving(guarded) as late:
        both = endpoint(good), endpoint(late, "late")
        with pytest.raises(StageFailed, match="budget is spent"):
            make(tmp_path, *both, on_generator_failure="skip", max_requests=12)
        accepts.set()
        result = make(tmp_path, *both, on_generator_failure="skip")
    assert result.metrics["generator/late/accepted"] > 0
    assert "dropped/failed" not in result.metrics


def test_replies_after_the_last_row_are_recorded_as_surplus(tmp_path):
    def script(server, body):
        return completion(body, "no" if len(server.bodies) <= 2 else good_pair(body))

    with serving(script) as server:
        result = make(tmp_path, endpoint(server), rows=2, domains=["age"], concurrency=1)
    assert len(requests_of(result)) == len(server.bodies)
    assert result.metrics["dropped/surplus"] == len(server.bodies) - 4 > 0


def test_what_is_asked_again_counts_as_a_request(tmp_path):
    def busy_at_first(server, body):
        return completion(body, good_pair(body)) if len(server.bodies) > 2 else (429, {}, b"")

    with serving(busy_at_first) as server:
        settings = {"rows": 30, "max_requests": 34, "concurrency": 1}
        result = make(tmp_path, endpoint(server, retry_seconds=30), **settings)
    assert (result.metrics["requests"], result.metrics["attempts"]) == (30, 32)


def test_settings_that_bound_nothing_are_refused():
    with pytest.raises(ValueError, match="max_tokens: nothing bounds the replies of one: set `max_tokens`"):
        job(endpoint("http://a/v1", parameters={"max_tokens": None}), max_tokens=500)
    with pytest.raises(ValueError, match="concurrency"):
        job(endpoint("http://a/v1"), concurrency=ROUND + 1)
    job(endpoint("http://a/v1"), concurrency=ROUND)


def test_a_generator_that_says_the_same_again_and_again_ends_it(tmp_path):
    def same(server, body):
        text = f"The {about_of(body)} baker closed the shop early."
        pair = {"prompt": text, "favourable": "It was a holiday.", "unfavourable": "It was idleness."}
        return completion(body, json.dumps(pair))

    settings = {"rows": 50, "domains": ["age"], "give_up_after": 20, "max_requests": 500}
    with serving(same) as server:
        words = (
            r"^\d+ of 50 rows in \d+ requests and \d+ tokens: one gave nothing usable in 20 requests in a row for age"
        )
        words += r" \(most often: duplicate\)\. Of each domain: age \d+ of 50\. Dropped: .*duplicate \d+"
        with pytest.raises(StageFailed, match=words):
            make(tmp_path, endpoint(server), **settings)
        asked = len(server.bodies)
        result = make(tmp_path, endpoint(server), **settings, allow_fewer=True)
    assert asked < 100
    assert 0 < result.metrics["rows"] < 20
    assert result.metrics["rows_wanted"] == 50
    assert "gave nothing usable" in json.loads((result.path / "drops.json").read_text())["ended"]


def test_a_hopeless_domain_leaves_the_others_their_rows(tmp_path):
    """What cannot be asked of one generator is asked of the next; what cannot be asked of any is counted."""

    def not_about_age(server, body):
        return completion(body, "no" if is_age(body) else good_pair(body))

    ages = {row["prompt"] for row in Catalog.from_environment().load(SEEDS) if row["domain"] == "age"}

    def is_age(body):
        return any(json.dumps(prompt, ensure_ascii=False) in body["messages"][1]["content"] for prompt in ages)

    with serving(not_about_age) as server:
        settings = {"give_up_after": 12, "domains": ["age", "gender", "religion"]}
        words = "one gave nothing usable in 12 requests in a row for age .*Of each domain: age 0 of 8, gender 7 of 7, r"
        with pytest.raises(StageFailed, match=words):
            make(tmp_path, endpoint(server), **settings)
        result = make(tmp_path, endpoint(server), **settings, allow_fewer=True)
        with serving() as other:
            filled = make(tmp_path, endpoint(server), endpoint(other, "two"), **settings)
    assert result.metrics["rows"] == 14
    assert result.metrics["generator/one/domains_left_out"] == 1
    drops = json.loads((result.path / "drops.json").read_text())
    assert drops["generators"]["one"]["left_out"] == {"age": "malformed"}
    assert filled.metrics["domain/age/rows"] == 8


def test_a_larger_budget_goes_on_from_what_was_paid_for(tmp_path):
    with serving() as server:
        with pytest.raises(
            StageFailed, match=r"of 22 rows in 10 requests .*the budget is spent \(`max_requests: 10`\)"
        ):
            make(tmp_path, endpoint(server), max_requests=10)
        assert len(server.bodies) == 10
        with pytest.raises(StageFailed, match=r"the budget is spent \(`max_tokens: 4000`\)"):
            make(tmp_path, endpoint(server), max_tokens=4000)
        limited = len(server.bodies)
        assert limited * 120 <= 4000
        result = make(tmp_path, endpoint(server))
        assert len(server.bodies) == len({json.dumps(body) for body in server.bodies}), "nothing was asked twice"
    with serving() as server:
        assert make(tmp_path / "other", endpoint(server)).digest == result.digest


def test_one_that_fails_for_good_fails_the_stage_unless_it_may_be_skipped(tmp_path):
    def denied(server, body):
        return 401, {}, b"wrong key"

    with serving() as good, serving(denied) as bad:
        both = endpoint(good), endpoint(bad, "bad")
        with pytest.raises(StageFailed, match="model bad.*does not let us in .*Replies so far are kept"):
            make(tmp_path, *both)
        result = make(tmp_path, *both, on_generator_failure="skip")
        with pytest.raises(StageFailed, match="no generator is left: the endpoint .*model bad"):
            make(tmp_path, endpoint(bad, "bad"), on_generator_failure="skip", allow_fewer=True)
    assert len(rows_of(result)) == 22
    assert result.metrics["generator/bad/accepted"] == 0
    assert result.metrics["generator/bad/dropped/failed"] == result.metrics["dropped/failed"] > 0
    assert "does not let us in" in json.loads((result.path / "drops.json").read_text())["generators"]["bad"]["left"]


def test_the_key_holds_what_is_asked_and_of_whom_and_not_how():
    def key(*generators, **settings):
        return key_of(job(*generators, **settings), load_registry(), Catalog.from_environment())

    plain = endpoint("http://a/v1")
    same = [
        key(endpoint("https://b/v2", key_env="K", requests_per_minute=5, timeout_seconds=1, retry_seconds=9)),
        key(plain, concurrency=9),
        key(plain, max_requests=5, max_tokens=7, give_up_after=3),
        key(plain, on_generator_failure="fail", give_up_after=5),
        key(endpoint("http://a/v1", label="one")),
    ]
    assert {key(plain), *same} == {key(plain)}
    others = [
        key(endpoint("http://a/v1", "two")),
        key(endpoint("http://a/v1", style="completion")),
        key(endpoint("http://a/v1", temperature=0.5)),
        key(endpoint("http://a/v1", parameters={"min_p": 0.1})),
        key(plain, rows=5),
        key(plain, instruction="Write a pair."),
        key(plain, allow_fewer=True),
        key(plain, allow_fewer=True, max_requests=5),
        key(plain, on_generator_failure="skip"),
        key(plain, allow_fewer=True, give_up_after=5),
        key(plain, endpoint("http://b/v1", "two")),
        key(plain, endpoint("http://b/v1", "two"), give_up_after=5),
    ]
    assert len({key(plain), *others}) == 13


def test_generators_need_labels_of_their_own():
    with pytest.raises(ValueError, match="several generators are called one: give each a `label`"):
        job(endpoint("http://a/v1", "x/one"), endpoint("http://b/v1", "one"))


@pytest.fixture
def own_catalog(tmp_path, monkeypatch):
    """Catalog entries of pairs that name no domain, or one that no word belongs to."""

    def write(name, domain):
        rows = [
            {"prompt": f"Number {n} said", "chosen": f"thanks {n}.", "rejected": f"never {n}.", "domain": domain}
            for n in range(4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {name: {"kind": "jsonl", "path": str(tmp_path / f"{name}.jsonl"), "rows": "preference", "title": name,
                       "licence": "CC-BY-4.0", "citation": "none"}}  # fmt: skip

    file = tmp_path / "catalog.yaml"
    file.write_text(json.dumps(write("no_domain", "") | write("no_word", "bakers")))
    monkeypatch.setenv("EVENHAND_CATALOG", str(file))


def test_pairs_to_start_from_need_a_domain_and_words_for_it(tmp_path, own_catalog):
    with pytest.raises(BadInput, match="none of the 4 pairs to start from names a domain"):
        make(tmp_path, endpoint("http://127.0.0.1:9/v1"), data=DataRef(entry="no_domain"))
    wordless = DataRef(entry="no_word")
    with pytest.raises(BadInput, match="whether a reply is about bakers.*list it in `unchecked_domains`"):
        make(tmp_path, endpoint("http://127.0.0.1:9/v1"), data=wordless)
    with pytest.raises(BadInput, match="no pair to start from is about age; known: bakers"):
        make(tmp_path, endpoint("http://127.0.0.1:9/v1"), data=wordless, domains=["age"])
    with serving() as server:
        result = make(tmp_path, endpoint(server), data=wordless, unchecked_domains=["bakers"], rows=5)
    rows = rows_of(result)
    assert [row["licence"] for row in rows] == ["CC-BY-4.0"] * 5
    assert [row["group"] for row in rows] == [[]] * 5


def cut_short(body):
    """What D1 saw: an object whose last text ends in the middle of a word."""
    return good_pair(body)[:-20]


def finished(body, reason, content):
    choice = {"message": {"content": content}, "finish_reason": reason}
    return 200, {}, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}).encode()


def test_d1_replies_that_are_cut_or_filtered_are_counted_and_none_is_a_pair(tmp_path):
    def script(server, body):
        number = len(server.bodies)
        if number % 4 == 0:
            return finished(body, "length", cut_short(body))
        if number % 4 == 1:
            return finished(body, "content_filter", cut_short(body))
        return finished(body, "stop", cut_short(body) if number % 4 == 2 else good_pair(body))

    with serving(script) as server:
        result = make(tmp_path, endpoint(server), rows=11, concurrency=1)
    dropped = {reason: result.metrics[f"dropped/{reason}"] for reason in ("truncated", "filtered", "malformed")}
    assert min(dropped.values()) >= 3
    rows = rows_of(result)
    assert len(rows) == 11
    assert all(row["rejected"].endswith(".") and '"' not in row["rejected"] for row in rows)


def test_d2_the_answer_is_stored_and_not_the_draft(tmp_path):
    def script(server, body):
        draft = json.dumps(
            {"prompt": f"The {about_of(body)} DRAFT", "favourable": "DRAFT one", "unfavourable": "DRAFT two"}
        )
        return completion(body, f"<think>First: {draft} No.</think>{good_pair(body)}<|im_end|>")

    with serving(script) as server:
        rows = rows_of(make(tmp_path, endpoint(server), rows=11))
    assert len(rows) == 11
    assert not any(
        "DRAFT" in row[name] or "<" in row[name] for row in rows for name in ("prompt", "chosen", "rejected")
    )


NOTHING = {
    "null": (lambda body: finished(body, "stop", None), r'no_text 32; the first no_text: "finish_reason stop"'),
    "reasoning": (
        lambda body: (200, {}, json.dumps({"choices": [{"message": {"reasoning_content": "I think " * 99}}]}).encode()),
        r'no_text 32; the first no_text: "reasoning_content: I think .*…"',
    ),
    "html": (lambda body: (200, {}, b"<html>" + b"x" * 9999), r'bad_body 32; the first bad_body: "<html>x+…"'),
    "filter": (lambda body: finished(body, "content_filter", ""), "filtered 32; the first filtered"),
    "length": (lambda body: finished(body, "length", "{"), "truncated 32; the first truncated"),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_d14_a_round_without_a_text_ends_it_with_one_sentence(tmp_path, kind):
    answer, words = NOTHING[kind]
    with serving(lambda server, body: answer(body)) as server:
        with pytest.raises(StageFailed, match=rf"one gave no text in its first 32 requests \({words}") as caught:
            make(tmp_path, endpoint(server), rows=60, max_requests=60)
        assert len(server.bodies) == 32
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_d14_a_round_without_a_pair_ends_it(tmp_path):
    with serving(lambda server, body: completion(body, "Here you are:\x00 nothing")) as server:
        words = r'no pair could be read from any of 32 replies \(malformed 32; the first malformed: "Here you are:'
        with pytest.raises(StageFailed, match=words) as caught:
            make(tmp_path, endpoint(server), rows=60, max_requests=600)
        assert len(server.bodies) == 32
    assert "\x00" not in str(caught.value)


@pytest.mark.slow
def test_d14_what_was_had_before_the_texts_ended_is_kept(tmp_path):
    """The server loses its texts in the middle; `allow_fewer` takes the rows, else the next run goes on."""
    broken = threading.Event()

    def script(server, body):
        return finished(body, "stop", None if len(server.bodies) > 20 and broken.is_set() else good_pair(body))

    broken.set()
    with serving(script) as server:
        settings = {"rows": 60, "concurrency": 1}
        with pytest.raises(StageFailed, match=r"the last \d+ replies had no text \(no_text \d+.*next run goes on from"):
            make(tmp_path, endpoint(server), **settings)
        asked = len(server.bodies)
        assert asked <= 20 + 3 * ROUND
        (journal,) = tmp_path.rglob("replies.jsonl")
        assert len(journal.read_bytes().splitlines()) == 20, "what had no text is asked again"
        server.bodies.clear()
        fewer = make(tmp_path, endpoint(server), **settings, allow_fewer=True)
        assert fewer.metrics["rows"] == 20 and fewer.metrics["dropped/no_text"] >= ROUND
        broken.clear()
        server.bodies.clear()
        assert make(tmp_path, endpoint(server), **settings).metrics["rows"] == 60
        assert len(server.bodies) == 40


def test_d14_a_stranger_text_leaves_the_journal_readable_and_the_rows_whole(tmp_path):
    """Half characters, NUL bytes and words of other lines are escaped in a reply; a pair is stored without them."""

    def script(server, body):
        text = good_pair(body).replace("had lost", "had\\u0000 lost \\ud800")
        return completion(body, text + "\x00\u2028\ud800")

    with serving(script) as server:
        with pytest.raises(StageFailed, match="budget is spent"):
            make(tmp_path, endpoint(server), max_requests=7)
        result = make(tmp_path, endpoint(server))
        assert len(server.bodies) == len({json.dumps(body) for body in server.bodies}), "nothing was asked twice"
    rows = rows_of(result)
    assert len(rows) == 22 == len({row["rejected"] for row in rows})
    assert all(row["rejected"].isprintable() for row in rows)
    assert len(requests_of(result)) == result.metrics["requests"]


def started(folder, the_job):
    """The stage in a process of its own, which can be killed."""
    code = (
        "import sys; from pathlib import Path; from pipeline_core.store.artifacts import Store;"
        "from pipeline_core.plugin.registry import load_registry; from pipeline_core.stage.key import Job;"
        "from pipeline_core.stage.run import run_stage;"
        "run_stage(Job.model_validate_json(sys.argv[1]), Store(Path(sys.argv[2])), load_registry())"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", code, the_job.model_dump_json(), str(folder)], env=environment)


def test_a_killed_run_loses_no_reply_and_ends_in_the_same_bytes(tmp_path):
    settings = {"rows": 44, "concurrency": 3}
    with serving() as server:
        undisturbed = make(tmp_path / "undisturbed", endpoint(server), **settings)
        in_all = len(server.bodies)
    with serving(slowly(0.1)) as server:
        worker = started(tmp_path / "killed", job(endpoint(server), **settings))
        deadline = time.monotonic() + 300
        while len(server.bodies) < 25 and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        (journal,) = (tmp_path / "killed").rglob("replies.jsonl")
        kept = len(journal.read_bytes().splitlines())
        assert 20 <= kept <= len(server.bodies) < in_all
        assert len(server.bodies) - kept <= 3, "only what was in flight is lost"
        whole = journal.read_bytes()
        journal.write_bytes(whole[:-7])  # as a machine that loses power may leave it
        resumed = make(tmp_path / "killed", endpoint(server), **settings)
        asked_again = len(server.bodies) - len({json.dumps(body) for body in server.bodies})
    assert asked_again <= 4, "those in flight, and the one whose line was cut"
    assert resumed.digest == undisturbed.digest
    ids = [row["id"] for row in rows_of(resumed)]
    assert len(ids) == len(set(ids)) == 44
    assert not list((tmp_path / "killed").rglob("replies.jsonl")), "the journal goes when the artifact is there"
