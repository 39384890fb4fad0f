"""What `load_config` refuses of the built-in plugins: settings and data that cannot work together."""

import gzip
import json

import pytest

from pipeline_core.checks.data import data_problems
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from pipeline_core.plugin.registry import load_registry
from pipeline_core.training.settings import RowTrainingConfig

PIPELINE = {"base": "tiny_lm", "data": "sandbox_pairs", "policy": ["dpo"]}
MEASURED = {"base": "tiny_lm", "evaluate": ["sandbox_bias"]}
GRPO = {"base": "tiny_lm", "data": "sandbox_prompts", "policy": ["grpo"], "reward": "lexicon"}


@pytest.mark.parametrize(
    ("document", "overrides", "words"),
    [
        (PIPELINE, ["data=sandbox_corpus"], r"^data, which policy\.0 \(dpo\) takes: 'sandbox_corpus' holds text rows"),
        (PIPELINE, ["data=sandbox_prompts"], r"preference rows are needed \(as in sandbox_pairs"),
        (
            MEASURED,
            ["evaluate=bbq", "evaluate.0.data=sandbox_pairs"],
            r"^evaluate\.0\.data \(bbq\): .* question rows are",
        ),
        (MEASURED, ["evaluate.0.facts=sandbox_corpus"], r"^evaluate\.0\.facts \(sandbox_bias\): .* choice rows are"),
        (MEASURED, ["base.data=sandbox_pairs"], r"^base\.data \(tiny_lm\): .* text rows are needed"),
        (
            PIPELINE,
            ["reward.name=tfidf_ridge", "reward.data=sandbox_facts"],
            r"^reward\.0\.data\.0 .* preference or scored rows",
        ),
        (PIPELINE, ["data.stratify=[nocol]", "data.rows=5"], r"^data\.stratify: 'sandbox_pairs' has no column 'nocol'"),
        (
            MEASURED,
            ["evaluate.0.prompts.entry=sandbox_prompts", "evaluate.0.prompts.stratify=[nocol]"],
            r"^evaluate\.0\.prompts\.stratify \(sandbox_bias\): 'sandbox_prompts' has no column",
        ),
        (PIPELINE, ["policy.dpo.adam_betas=2,3"], r"policy\.0\.adam_betas\.0 \(dpo\): Input should be less than 1"),
        (PIPELINE, ["base.heads=3", "base.hidden_size=32"], r"base \(tiny_lm\): hidden_size \(32\) must be a multiple"),
        (PIPELINE, ["base.learning_rate=.inf"], r"base\.learning_rate \(tiny_lm\): Input should be a finite number"),
        (
            GRPO,
            ["policy.grpo.max_length=8", "policy.grpo.sampling.max_new_tokens=100"],
            r"policy\.0 \(grpo\): sampling\.max_new_tokens \(100\) must be less than max_length \(8\)",
        ),
        ({**PIPELINE, "data": None}, [], r"policy\.0 \(dpo\) needs preference rows"),
        ({**GRPO, "data": None}, [], r"policy\.0 \(grpo\) needs preference rows"),
        ({**MEASURED, "reward": "tfidf_ridge"}, [], r"reward\.0 \(tfidf_ridge\) needs preference rows"),
        ({"base": {"name": "checkpoint", "model": "a/b", "revision": "main"}}, [], r"base .*'main' is no commit"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(document, overrides, words):
    with pytest.raises(BadInput, match=words):
        load_config(document, overrides)


@pytest.mark.parametrize(
    "document",
    [
        GRPO,
        {**PIPELINE, "data": "an_entry_of_another_machine"},
        {**MEASURED, "reward": {"name": "tfidf_ridge", "data": "sandbox_pairs"}},
        {**MEASURED, "reward": "lexicon"},
        {"base": {"name": "checkpoint", "model": "someone/model"}},
    ],
)
def test_what_can_work_is_taken(document):
    load_config(document)


def test_every_default_of_every_plugin_names_fitting_data():
    from pipeline_core.data.catalog import Catalog

    needed = {"lm_eval": {"tasks": ["lambada_openai"]}}
    suites = [{"name": spec.name, **needed.get(spec.name, {})} for spec in load_registry().specs("evaluate")]
    config = load_config({"base": "tiny_lm", "data": "sandbox_pairs", "reward": "tfidf_ridge", "evaluate": suites})
    assert data_problems(config, Catalog.from_environment()) == []


def test_what_only_changes_rounding_is_no_part_of_the_identity():
    one, other = (RowTrainingConfig(name="x", processes=n, micro_batch_tokens=64 * n) for n in (1, 2))
    assert one.identity() == other.identity()


def test_the_arithmetic_counts_steps_and_shares():
    config = RowTrainingConfig(name="x", batch_size=32, processes=2, epochs=1.5)
    words = config.arithmetic_of(2750)
    # ceil(2750 / 32) = 86 batches a pass
    assert "2750 rows: 129 steps = 1.5 passes, 32 rows a step (16 for each of 2 processes)" in words
    assert config.arithmetic().startswith("1.5 passes over the rows, 32 rows a step (16 for each")


def test_what_the_hub_is_needed_for_is_told():
    from pipeline_core.checks.data import hub_needs
    from pipeline_core.data.catalog import Catalog

    policy = {"name": "dpo", "label": "one"}
    model = {"name": "checkpoint", "model": "someone/model"}
    config = load_config({"base": model, "data": "hh_rlhf", "policy": [policy]})
    assert hub_needs(config, Catalog.from_environment()) == ["data hh_rlhf (Anthropic/hh-rlhf)", "model someone/model"]
    assert hub_needs(load_config("sandbox"), Catalog.from_environment()) == []


def test_rows_are_counted_where_that_costs_no_reading(tmp_path, monkeypatch):
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.refs import DataRef

    catalog = Catalog.from_environment()
    assert catalog.known_rows(DataRef(entry="sandbox_prompts")) == 440
    assert catalog.known_rows(DataRef(entry="sandbox_prompts", stratify=("domain",), per_stratum=2)) == 22
    assert catalog.known_rows(DataRef(entry="stereoset_pairs", rows=600)) == 600
    monkeypatch.delenv("EVENHAND_DATA", raising=False)
    assert catalog.known_rows(DataRef(entry="stereoset_pairs")) is None
    folder = tmp_path / "stereoset"
    folder.mkdir()
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    row = {"prompt": "p", "chosen": "c", "rejected": "r", "group": "race", "target": "t", "split": "test"}
    with gzip.open(folder / "preference_pairs_intersentence.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row | {"split": split, "prompt": split}) + "\n" for split in ("dev", "test")))
    assert catalog.known_rows(DataRef(entry="stereoset_pairs")) is None
    catalog.load(DataRef(entry="stereoset_pairs"))
    assert catalog.known_rows(DataRef(entry="stereoset_pairs")) == 1


GENERIC = ["preference_gap", "sampled_reward", "reward_pairs", "reward_scores"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A catalog of the user's: `mine` with splits by file, `drawn` with drawn ones, `whole` without any."""
    about = {"kind": "jsonl", "rows": "preference", "licence": "none", "citation": "none"}
    entries = {
        "mine": {**about, "path": {"train": "a.jsonl", "test": "b.jsonl"}, "default_split": "train"},
        "drawn": {**about, "path": "a.jsonl", "split_by": {"column": "prompt", "shares": {"train": 0.9, "dev": 0.1}}},
        "whole": {**about, "path": "a.jsonl"},
        "shared": {**about, "path": {"train": "s/*.jsonl", "test": "s/test.jsonl", "dev": "s/../dev.jsonl"}},
        "copy": {**about, "path": "dev.jsonl"},
    }
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "dev", "s/train", "s/test"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "p", "chosen": "c", "rejected": "r"}\n')
    file = tmp_path / "catalog.yaml"
    file.write_text(json.dumps(entries))
    monkeypatch.setenv("EVENHAND_CATALOG", str(file))


def suites(data, *names, own=None):
    entries = [{"name": name, "data": own} for name in names]
    return load_config({"base": "tiny_lm", "data": data, "reward": "tfidf_ridge", "policy": "dpo", "evaluate": entries})


@pytest.mark.parametrize(
    ("data", "split"),
    [
        ("mine", "test"),
        ({"entry": "mine", "split": "test"}, None),
        ({"entry": "drawn", "split": "train", "rows": 5}, "dev"),
        ("drawn", None),
        ("whole", None),
        (None, None),
        ("sandbox_pairs", "heldout"),
    ],
)
def test_d17_a_suite_without_data_measures_the_held_out_part_of_the_runs_own_or_asks(mine, data, split):
    if split is None:
        for name in GENERIC:
            with pytest.raises(BadInput, match=rf"(?s)evaluate\.0\.data \({name}\): .*name rows"):
                load_config(
                    {"base": "tiny_lm", "data": data, "extend": "templates", "reward": "tfidf_ridge", "evaluate": name}
                )
        return
    entry = data if isinstance(data, str) else data["entry"]
    config = suites(data, *GENERIC)
    assert {(one.data.entry, one.data.split, one.data.rows) for one in config.evaluate} == {(entry, split, None)}
    assert load_config(config.model_dump(mode="json")) == config


TEST = {"entry": "mine", "split": "test"}


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"reward": {"name": "tfidf_ridge", "data": TEST}}, "reward.0.data.0 (tfidf_ridge)"),
        ({"reward": {"name": "tfidf_ridge", "data": [{**TEST, "rows": 1}]}}, "reward.0.data.0 (tfidf_ridge)"),
        ({"extend": [{"name": "catalog_rows", "data": TEST}, "mix"]}, "extend.0.data (catalog_rows)"),
        ({"policy": {"name": "grpo", "retention": {"data": TEST}}}, "policy.0.retention.data (grpo)"),
        ({"policy": {"name": "dpo", "validation": {"data": TEST}}}, "policy.0.validation.data (dpo)"),
    ],
)
@pytest.mark.parametrize("suite", GENERIC)
def test_d17_rows_that_anything_else_in_the_run_names_are_not_called_held_out(mine, suite, settings, where):
    run = {"base": "tiny_lm", "data": "mine", "reward": "tfidf_ridge", "policy": "dpo", "evaluate": suite} | settings
    with pytest.raises(BadInput) as caught:
        load_config(run)
    told = f"evaluate.0.data ({suite}): 'mine' has no part beside 'train' that is known to be held out ('test' is named"
    assert str(caught.value).startswith(f"{told} by {where}); name rows")
    assert "e.g." not in str(caught.value), "what was just refused is not advised"
    given = load_config(run | {"evaluate": {"name": suite, "data": TEST}})
    assert given.evaluate[0].data.name == "mine/test"


@pytest.mark.parametrize("entry", ["mine", "drawn"])
def test_d17_an_entry_that_is_named_whole_has_no_part_left(mine, entry):
    run = {"base": "tiny_lm", "data": {"entry": entry, "split": "train"}, "policy": "dpo", "evaluate": "preference_gap"}
    assert load_config(run).evaluate[0].data.split in ("test", "dev")
    whole = {"mine": {"entry": "mine", "split": "test"}, "drawn": "drawn"}[entry]
    with pytest.raises(BadInput, match=r"named by extend\.0\.data \(catalog_rows\)"):
        load_config(run | {"extend": {"name": "catalog_rows", "data": whole}})


def test_d17_rows_that_are_only_compared_with_may_be_measured(mine):
    mix = {"name": "mix", "against": [TEST], "quality": {"human": TEST}}
    run = {"base": "tiny_lm", "data": "mine", "extend": ["counterfactual", mix], "policy": "dpo"}
    suites = ["preference_gap", {"name": "sampled_reward", "data": TEST}]
    config = load_config(run | {"reward": "tfidf_ridge", "evaluate": suites})
    assert config.evaluate[0].data.name == "mine/test"


@pytest.mark.parametrize(
    ("data", "extend", "found"),
    [
        ({"entry": "shared", "split": "train"}, [], "dev"),
        (
            {"entry": "shared", "split": "train"},
            [{"name": "catalog_rows", "data": "copy"}, "mix"],
            r"'test' shares the file '.*/s/test\.jsonl' with data; 'dev' shares .*/dev\.jsonl' with extend\.0\.data",
        ),
    ],
)
def test_d17_splits_that_share_a_file_are_not_held_out_from_each_other(mine, data, extend, found):
    run = {"base": "tiny_lm", "data": data, "extend": extend, "policy": "dpo", "evaluate": "preference_gap"}
    if found == "dev":
        assert load_config(run).evaluate[0].data.split == "dev"
        return
    with pytest.raises(BadInput, match=found):
        load_config(run)


def test_d17_what_is_given_stays(mine):
    config = suites("mine", *GENERIC, own={"entry": "sandbox_pairs", "split": "heldout"})
    assert {one.data.name for one in config.evaluate} == {"sandbox_pairs/heldout"}


def test_d17_a_word_list_of_the_sandbox_is_named_where_the_rows_are_others(mine):
    with pytest.raises(BadInput, match=r"^reward\.0\.words \(lexicon\): stands for the sandbox's .* are 'mine'; give"):
        load_config({"data": "mine", "reward": "lexicon"})
    for words in ("sandbox", "general"):
        assert load_config({"data": "mine", "reward": {"name": "lexicon", "words": words}}).reward[0].words == words
    assert load_config({"data": "sandbox_pairs", "reward": "lexicon"}).reward[0].words == "sandbox"
