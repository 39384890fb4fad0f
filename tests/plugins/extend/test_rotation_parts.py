"""The parts of a rotation: shares, planning, the journal, words for people, local models."""

import json
import shutil
import threading
from collections import Counter
from types import SimpleNamespace

import pytest

from pipeline_core.augmentation.terms import load_vocabulary
from pipeline_core.conformance.kit import check_plugin, tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, StageFailed
from plugins.extend.llm_rotation._journal import Journal, Reply
from plugins.extend.llm_rotation._local import LocalModel
from plugins.extend.llm_rotation._prompts import INSTRUCTION, beginning, conversation
from plugins.extend.llm_rotation._replies import parse
from plugins.extend.llm_rotation._requests import ROUND, Planner, RequestTally, shares
from plugins.extend.llm_rotation._seeds import domains_of, licences_of
from plugins.extend.llm_rotation._settings import EndpointSettings, LocalSettings
from tests.plugins.extend.scripted_server import serving


def seed_rows(**domains):
    from datasets import Dataset

    rows = [
        {"id": f"{domain}/{n}", "prompt": prompt, "chosen": "was kind.", "rejected": "was rude.", "domain": domain,
         "group": group}
        for domain, pairs in domains.items()
        for n, (prompt, group) in enumerate(pairs)
    ]  # fmt: skip
    return Dataset.from_list(rows)


PEOPLE = {
    "religion": [("The Muslim baker", ["Muslim"]), ("Two Hindus", ["hindu"]), ("A monk", ["monk"])],
    "profession": [("The nurses", ["nurse"]), ("My plumber", ["plumber"])],
    "race_x_gender": [("The Black woman", ["black_woman"])],
}


@pytest.fixture
def domains():
    return domains_of(seed_rows(**PEOPLE), load_vocabulary("identity_terms"))


def test_people_are_found_by_the_seeds_names_and_the_vocabulary(domains):
    def groups(domain, text):
        return [about.group for about in domains[domain].find([text])]

    assert groups("religion", "A Sikh and some monks met MUSLIMS.") == ["monk", "Muslim", "sikh", "muslim"]
    assert groups("profession", "A nurse met a Muslim") == ["nurse"]
    assert groups("profession", "nursery and sub-plumber") == []
    assert groups("religion", "They came to the mosque") == []
    assert groups("race_x_gender", "Black women came") == ["black_woman"]
    assert [about.word for about in domains["religion"].people] == ["Muslim", "hindu", "monk"]
    assert not domains_of(seed_rows(bakers=[("x", [])]), load_vocabulary("identity_terms"))["bakers"].has_words


def test_pronouns_do_not_tell_whom_a_text_is_about():
    gender = domains_of(seed_rows(gender=[("A waitress", ["waitress"])]), load_vocabulary("identity_terms"))["gender"]
    assert gender.find(["He gave her his book himself."]) == []
    assert [about.group for about in gender.find(["The woman gave her a book."])] == ["female"]
    sandbox = load_vocabulary("sandbox")
    name, listed = next(iter(sandbox.domains.items()))
    group, slots = next(iter(listed.groups.items()))
    found = domains_of(seed_rows(**{name: [("x", [])]}), sandbox)[name].find([slots["word"][0]])
    assert [about.group for about in found] == [group]


def test_shares_add_up(domains):
    assert shares(10, domains, "even") == {"profession": 4, "race_x_gender": 3, "religion": 3}
    assert shares(10, domains, "seeds") == {"profession": 3, "race_x_gender": 2, "religion": 5}
    assert shares(1, domains, "even") == {"profession": 1, "race_x_gender": 0, "religion": 0}


def test_generators_take_turns_in_every_domain(domains):
    planner = Planner(domains, {name: RequestTally(30) for name in domains}, seed=3, examples=2)
    both = {key: ["one", "two"] for key in domains}
    asked = planner.round(both) + planner.round(both)
    assert [request.number for request in asked] == list(range(2 * ROUND))
    turns = Counter((request.domain, request.generator) for request in asked)
    assert max(turns.values()) - min(turns.values()) <= 2
    for request in asked:
        assert all(seed in domains[request.domain].seeds for seed in request.examples)
    again = Planner(domains, {name: RequestTally(30) for name in domains}, seed=3, examples=2)
    assert again.round(both) == asked[:ROUND]
    other = Planner(domains, {name: RequestTally(30) for name in domains}, seed=4, examples=2)
    assert other.round(both) != asked[:ROUND]


def test_a_round_asks_for_as_much_as_is_likely_to_be_lacking(domains):
    tallies = {
        "religion": RequestTally(10, 40, 40, 9),
        "profession": RequestTally(5, 5, 5, 5),
        "race_x_gender": RequestTally(2, 2, 2, 0),
    }
    one = {key: ["one"] for key in domains}
    planned = Counter(request.domain for request in Planner(domains, tallies, 0, 1).round(one))
    assert planned == {"religion": 5, "race_x_gender": 6}, "1 / (10 / 41) and 2 / (1 / 3)"
    done = {name: RequestTally(1, 1, 1, 1) for name in domains}
    assert Planner(domains, done, 0, 1).round(one) == []


def test_a_hopeless_domain_has_its_share_of_a_round_and_no_more(domains):
    tallies = {
        "religion": RequestTally(30, 90, 90, 0),
        "profession": RequestTally(30),
        "race_x_gender": RequestTally(30),
    }
    active = {key: ["one"] for key in domains}
    planned = Counter(request.domain for request in Planner(domains, tallies, 0, 1).round(active))
    assert sorted(planned.values()) == [ROUND // 3, ROUND // 3 + 1, ROUND // 3 + 1]
    assert planned["religion"] == ROUND // 3
    left_out = Planner(domains, tallies, 0, 1).round({**active, "religion": []})
    assert {request.domain for request in left_out} == {"profession", "race_x_gender"}


def test_what_is_shown_can_be_read_back(domains):
    seed = domains["religion"].seeds[0]
    shown = beginning([seed], "monk").split("\n\n")[1]
    assert parse(shown) == seed.texts
    _, question = conversation(INSTRUCTION, [seed], "monk")
    assert parse(question.content) == seed.texts


def test_the_journal_bears_a_kill_and_keeps_the_first_reply(tmp_path):
    path, first = tmp_path / "replies.jsonl", Reply('é\n"x"\u2028', 3, 4)
    with Journal(path) as journal:
        assert journal.add("a", first) == first
        assert journal.add("a", Reply("other", 0, 0)) == first
        journal.add("b", Reply("", 1, 0))
        assert (journal.added, journal.tokens_added) == (2, 8)
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines(keepends=True)[0]), len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            assert journal.get("a") == first
            assert journal.get("b") is None or cut == len(whole) - 1
            journal.add("c", first)
        with Journal(path) as journal:
            assert (journal.get("a"), journal.get("c"), journal.added) == (first, first, 0)
    path.write_bytes(b'3\n{"asked": "x"}\nnot json\n\xff\xfe\n' + whole)
    with Journal(path) as journal:
        assert journal.get("a") == first


def test_the_journal_forgets_replies_with_a_fault(tmp_path):
    path = tmp_path / "replies.jsonl"
    with Journal(path) as journal:
        journal.add("a", Reply("<html>", 1, 0, "bad_body"))
        assert journal.get("a").fault == "bad_body"
    path.write_bytes(path.read_bytes() + b'{"asked": "b", "text": "", "prompt_tokens": 1, "completion_tokens": 0, '
                     b'"fault": "failed"}\n')  # fmt: skip
    with Journal(path) as journal:
        assert journal.get("a") is journal.get("b") is None


def add_ten(journal, thread):
    for number in range(10):
        journal.add(f"{thread}/{number}", Reply("x" * 3000, 1, 1))


def test_replies_from_many_threads_stay_whole(tmp_path):
    path = tmp_path / "replies.jsonl"
    with Journal(path) as journal:
        threads = [threading.Thread(target=add_ten, args=(journal, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({json.loads(line)["asked"] for line in path.read_text().splitlines()}) == 40


def test_a_journal_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(StageFailed, match="replies cannot be kept in .*replies"), Journal(tmp_path / "no" / "replies"):
        pass


def test_a_local_model_answers_alike_whatever_is_asked_before(tmp_path):
    settings = LocalSettings(model=str(tiny_model(tmp_path)), max_new_tokens=6)
    first = LocalModel(settings, "cpu").answer(["one", "two"], [5, 6])
    again = LocalModel(settings, "cpu")
    again.answer(["else"], [9])
    assert again.answer(["one", "two"], [5, 6]) == first
    assert first != again.answer(["one", "two"], [7, 8])
    assert all(0 < reply.completion_tokens <= 6 for reply in first)
    long, short = again.answer(["word " * 300, "two"], [1, 6])
    assert (long.fault, short.fault) == ("rejected", "truncated")
    assert "exceed the model's 256 positions" in long.text
    chat = LocalModel(settings.model_copy(update={"style": "chat"}), "cpu")
    with pytest.raises(BadInput, match="local: the model has no chat template; set `style: completion`"):
        chat.answer([conversation("a", [], "b")], [1])


def test_a_local_model_and_an_endpoint_take_turns(tmp_path):
    from tests.plugins.test_conformance import roomy_model

    with serving() as server:
        generators = [
            {"kind": "openai", "base_url": server.url, "model": "one"},
            {"kind": "transformers", "model": str(roomy_model(tmp_path / "m")), "label": "tiny", "max_new_tokens": 4},
        ]
        settings = {"generators": generators, "rows": 6, "on_generator_failure": "skip", "give_up_after": 8}
        result = check_plugin("extend", "llm_rotation", tmp_path, settings)
    assert result.metrics["generator/one/accepted"] == 6
    assert result.metrics["generator/tiny/dropped/truncated"] > 0


def test_a_folder_is_known_by_its_files(tmp_path):
    folder = tiny_model(tmp_path / "a")
    moved = LocalSettings(model=str(folder.rename(tmp_path / "b")))
    assert moved.identity() == LocalSettings(model=str(tmp_path / "c")).identity()
    assert moved.sources()["files"]
    served = [EndpointSettings(base_url="http://a/v1", model=f"/{place}/SmolLM2-135M") for place in ("here", "there")]
    assert served[0].identity() != served[1].identity(), "what cannot be read here is known by its whole name"
    assert served[0].model_name == served[0].called == "SmolLM2-135M"
    assert served[0].sources() == {}
    here = EndpointSettings(base_url="http://a/v1", model=str(tmp_path / "b"))
    again = EndpointSettings(base_url="http://a/v1", model=str(shutil.copytree(tmp_path / "b", tmp_path / "e" / "b")))
    assert (here.identity(), here.sources()) == (again.identity(), again.sources())
    (tmp_path / "e" / "b" / "config.json").write_text("{}")
    assert here.sources() != again.sources()
    assert moved.called == "local" == moved.model_name
    with pytest.raises(ValueError, match="give `model` .* or `package`"):
        LocalSettings()
    with pytest.raises(BadInput, match="package 'no_such_package', which holds the model, is not installed"):
        LocalSettings(package="no_such_package").sources()


def test_rows_of_an_earlier_extension_keep_their_licences(tmp_path):

    rows = seed_rows(**PEOPLE).add_column("licence", ["A", "B", None, "C", "D", "E"])
    assert list(licences_of(SimpleNamespace(preferences=rows)).values()) == ["A", "B", "unknown", "C", "D", "E"]
    catalog = Catalog.from_environment()
    given = SimpleNamespace(preferences=seed_rows(**PEOPLE), catalog=catalog, data_ref=DataRef(entry="stereoset_pairs"))
    assert set(licences_of(given).values()) == {"CC-BY-SA-4.0"}


def test_d14_a_journal_of_an_earlier_version_is_read(tmp_path):
    """Replies were kept without a word on why they ended; half characters may stand in them."""
    lines = [
        {"asked": "a", "text": "cut \ud800", "prompt_tokens": 1, "completion_tokens": 2, "fault": "", "attempts": 1},
        {"asked": "b", "text": "early", "prompt_tokens": 1, "completion_tokens": 2},
        {"asked": "c", "text": "cut", "prompt_tokens": 1, "completion_tokens": 2, "fault": "truncated", "attempts": 2},
        {"asked": "d", "text": "", "prompt_tokens": 1, "completion_tokens": 2, "fault": "no_text", "attempts": 2},
    ]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Journal(path) as journal:
        assert journal.get("a") == Reply("cut \ufffd", 1, 2)
        assert journal.get("b") == Reply("early", 1, 2)
        assert journal.get("c") == Reply("cut", 1, 2, "truncated", 2)
        assert journal.get("d") is None
        journal.add("d", Reply("cut again", 1, 2, "truncated"))
        journal.add("e", Reply("nothing", 1, 2, "filtered"))
    with Journal(path) as journal:
        assert journal.get("d").text == "cut again" and journal.get("e") is None
