"""Tasks of the lm-evaluation-harness: one of our own, rigged models at the extremes, and what is refused."""

import importlib.util
import json

import pyarrow.parquet as pq
import pytest
import torch

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.errors import BadInput, UnknownName
from plugins.evaluate.lm_eval.plugin import LmEvalConfig, figures, item_scores, measures, sources
from tests.plugins.evaluate.rigged_models import evaluate, table_model

needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed: pip install 'evenhand[lm-eval]'"
)
TASK = """
task: lamps
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}:"
doc_to_choice: "{{options}}"
doc_to_target: label
metric_list: [{metric: acc}]
metadata: {version: 1}
"""
ROWS = [{"question": f"lamp {n}", "options": ["yes", "no"], "label": 0} for n in ("one", "two", "three")]


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "lamps.yaml").write_text(TASK % (tmp_path / "rows.jsonl"))
    return {"tasks": ["lamps"], "include_path": str(folder), "batch_rows": 2}


def lamp_model(folder, word):
    return table_model(folder, ["yes", "no", "lamp", "one", "two", "three", ":"], {":": {word: 9.0}})


@needs_harness
@pytest.mark.parametrize(("word", "expected"), [("yes", 1.0), ("no", 0.0)])
def test_a_rigged_model_scores_at_the_extremes(tasks, tmp_path, word, expected):
    metrics, found = evaluate("lm_eval", tasks, lamp_model(tmp_path / "model", word), tmp_path / "out")
    assert metrics["lm_eval/lamps/acc"] == expected
    assert (metrics["lm_eval/items/measured"], metrics["lm_eval/items/left_out_by_limit_of_lamps"]) == (3, 0)
    assert found["lm_eval/lamps/acc"]["n"] == 3
    assert found["lm_eval/lamps/acc"]["better"] == "higher"
    rows = pq.read_table(tmp_path / "out" / "rows.parquet").to_pylist()
    assert [row["value"] for row in rows if row["score"] == "acc"] == [expected] * 3
    assert {row["item"] for row in rows} == {"lamps/0", "lamps/1", "lamps/2"}


@needs_harness
def test_items_that_a_limit_leaves_out_are_counted(tasks, tmp_path):
    settings = {**tasks, "limit": 2}
    metrics, _ = evaluate("lm_eval", settings, lamp_model(tmp_path / "model", "yes"), tmp_path / "out")
    assert (metrics["lm_eval/items/measured"], metrics["lm_eval/items/left_out_by_limit_of_lamps"]) == (2, 1)


@needs_harness
def test_a_broken_model_is_invalid_and_has_no_score(tasks, tmp_path):
    """The harness itself takes the first option, which is the right one."""
    words = ["yes", "no", "lamp", "one", "two", "three", ":"]
    model = table_model(tmp_path / "model", words, {":": {"yes": float("nan")}})
    metrics, _ = evaluate("lm_eval", tasks, model, tmp_path / "out")
    figures = {name: value for name, value in metrics.items() if "/items/" not in name}
    assert figures == {"lm_eval/lamps/invalid_share": 100}


@needs_harness
def test_a_random_model_is_at_chance(tasks, tmp_path):
    rows = [{"question": f"lamp {n}", "options": ["yes", "no"], "label": n % 2} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, found = evaluate("lm_eval", tasks, tiny_model(tmp_path / "model"), tmp_path / "out")
    assert found["lm_eval/lamps/acc"]["low"] <= 0.5 <= found["lm_eval/lamps/acc"]["high"]


@needs_harness
def test_items_longer_than_the_context_are_counted(tasks, tmp_path):
    rows = [ROWS[0], ROWS[1] | {"question": "lamp " * 600}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics, _ = evaluate("lm_eval", tasks, lamp_model(tmp_path / "model", "yes"), tmp_path / "out")
    assert (metrics["lm_eval/items/measured"], metrics["lm_eval/items/cut"]) == (2, 1)


@needs_harness
def test_a_label_out_of_range_is_told(tasks, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0] | {"label": 7}) + "\n")
    with pytest.raises(BadInput, match=r"cannot run lamps \(IndexError"):
        evaluate("lm_eval", tasks, lamp_model(tmp_path / "model", "yes"), tmp_path / "out")


@needs_harness
def test_an_unknown_task_is_told_with_the_nearest(tasks, tmp_path):
    with pytest.raises(UnknownName, match=r"unknown task of the lm-evaluation-harness 'lamp'.*lamps"):
        evaluate("lm_eval", {**tasks, "tasks": ["lamp"]}, lamp_model(tmp_path / "model", "yes"), tmp_path / "out")


WORDS = ("the", "nurse", "was", "late", "old", "again", "visitor")


def requests():
    """Prompts and answers that begin alike, an empty prompt, and one that is too long for 32 tokens."""
    shots = "the nurse was late. the visitor was old. "
    pairs = [(f"{shots}the {word} was", f" {other}") for word in WORDS for other in WORDS[:3]]
    return [*pairs, ("", "the nurse"), (shots * 3, "again and again"), ("the nurse ", "was")]


def harness_lm(folder, ours):
    from lm_eval.models.huggingface import HFLM

    from pipeline_core.models.loading import load_model
    from plugins.evaluate.lm_eval._model import SharingLM

    model, tokenizer = load_model(folder)
    if ours:
        return SharingLM(model, tokenizer, max_length=32, batch_rows=3, tokens_per_batch=64)
    return HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", max_length=32, batch_size=3)


def harness_answers(lm):
    from lm_eval.api.instance import Instance

    asked = [Instance("loglikelihood", {}, pair, 0) for pair in requests()]
    greedy = [Instance("generate_until", {}, (prompt or "the", {"max_gen_toks": 4}), 0) for prompt, _ in requests()]
    written = [
        Instance("loglikelihood", {}, (one.args[0], text), 0)
        for one, text in zip(greedy, lm.generate_until(greedy), strict=True)
        if text
    ]
    texts = [Instance("loglikelihood_rolling", {}, (prompt * 2,), 0) for prompt, _ in requests() if prompt]
    return lm.loglikelihood(asked + written), lm.loglikelihood_rolling(texts)


@needs_harness
def test_m7_prompts_are_padded_where_the_longest_row_of_them_may_be(tmp_path, monkeypatch):
    from pipeline_core.models.sampling.ways import SamplingMethod
    from plugins.evaluate.lm_eval import _model as harness

    lm, asked = harness_lm(tiny_model(tmp_path / "model"), ours=True), []
    for way in (SamplingMethod.PADDED, SamplingMethod.CACHED):
        monkeypatch.setattr(harness, "way_of", lambda _, tokens, way=way: asked.append(tokens) or way)
        harness_answers(lm)
        assert lm.batch_size == (3 if way is SamplingMethod.PADDED else 1)
    assert asked == [32, 32]  # the longest prompt is cut, and leaves room for its answer


@needs_harness
def test_likelihoods_are_those_of_the_harnesss_own_model(tmp_path):
    folder = tiny_model(tmp_path / "model")
    lm = harness_lm(folder, ours=True)
    (found, texts), (wanted, wanted_texts) = (harness_answers(one) for one in (lm, harness_lm(folder, ours=False)))
    assert [logp for logp, _ in found] == pytest.approx([logp for logp, _ in wanted], abs=1e-4)
    assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in wanted]
    assert len({is_greedy for _, is_greedy in found}) == 2
    assert texts == pytest.approx(wanted_texts, abs=1e-4)
    assert ("the nurse was late. the visitor was old. " * 3, "again and again") in lm.cut
    assert ("", "the nurse") not in lm.cut


def _in_two(rank, store, folder, queue):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    queue.put(harness_answers(harness_lm(folder, ours=True)))
    torch.distributed.destroy_process_group()


@needs_harness
def test_two_processes_share_the_likelihoods(tmp_path):
    folder = tiny_model(tmp_path / "model")
    alone, alone_texts = harness_answers(harness_lm(folder, ours=True))
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_in_two, (tmp_path / "store", folder, queue), nprocs=2)
    for found, texts in [queue.get() for _ in range(2)]:
        assert [logp for logp, _ in found] == pytest.approx([logp for logp, _ in alone], abs=1e-5)
        assert texts == pytest.approx(alone_texts, abs=1e-5)


@needs_harness
def test_an_answer_longer_than_the_context_is_told(tasks, tmp_path):
    rows = [ROWS[0], ROWS[1] | {"options": ["yes", "no " * 40]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match="the answer ' no no .* has 40 tokens, and 16 is the longest"):
        evaluate("lm_eval", {**tasks, "max_length": 16}, lamp_model(tmp_path / "model", "yes"), tmp_path / "out")


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm_eval is installed")
def test_without_the_package_it_says_how_to_get_it(tmp_path):
    with pytest.raises(BadInput, match=r"need an optional part: pip install 'evenhand\[lm-eval\]'"):
        evaluate("lm_eval", {"tasks": ["arc_easy"]}, tmp_path, tmp_path / "out")


def test_what_is_no_mean_of_items_has_no_measure():
    samples = [
        {"doc_id": n, "filter": "none", "metrics": ["acc", "f1", "words"], "acc": n % 2, "f1": 0.5, "words": (1, 2)}
        | {"resps": [[(-1.5, True)]]}
        for n in range(4)
    ]
    own = figures({"t": {"alias": "t", "acc,none": 0.5, "f1,none": 0.9, "ppl,strict": 12.0, "acc_stderr,none": 0.1}})
    assert own == {"lm_eval/t/acc": 0.5, "lm_eval/t/f1": 0.9, "lm_eval/t/ppl:strict": 12.0}
    scores = list(item_scores("t", samples))
    assert {score.score for score in scores} == {"acc", "f1", "invalid"}
    invalid, made = measures(scores, own, {"higher_is_better": {"t": {"acc": True, "f1": True}}})
    assert (invalid.name, invalid.better) == ("lm_eval/t/invalid_share", "lower")
    assert (made.name, made.better) == ("lm_eval/t/acc", "higher")


def test_own_task_files_are_part_of_the_key_and_their_place_is_not(tasks, tmp_path):
    config = LmEvalConfig.model_validate({"name": "lm_eval", **tasks})
    before = sources(config)
    assert set(before) == {"lm_eval", "lamps.yaml"}
    assert str(tmp_path) not in json.dumps(config.identity())
    (tmp_path / "tasks" / "lamps.yaml").write_text("task: other")
    assert sources(config)["lamps.yaml"] != before["lamps.yaml"]
