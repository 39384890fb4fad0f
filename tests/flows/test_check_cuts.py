"""M11: `evenhand check` tells how many rows do not fit where the model and the rows are at hand."""

from types import SimpleNamespace

import pytest
from datasets import Dataset

from pipeline_core.checks.cuts import training_counts, words_of
from pipeline_core.data.refs import DataRef
from pipeline_core.pipeline.plan import PlannedStage
from pipeline_core.store.places import Places
from plugins.policy.dpo import DpoConfig
from plugins.policy.grpo import GrpoConfig
from plugins.policy.sft.plugin import SftConfig
from tests.models.tokenizers_of_all_kinds import byte_level

DATA = DataRef(entry="sandbox_pairs", split="heldout", rows=48)


@pytest.fixture
def made(home):
    folder = Places.from_environment().store / "model" / "k"
    folder.mkdir(parents=True)
    byte_level("<s> $A").save_pretrained(folder)
    return {"base": SimpleNamespace(key="k")}


def planned(config, **more):
    facts = {"needs": {"model": "base"}, "data": DATA} | more
    return PlannedStage("policy:p", "policy", "p", 0, config, **facts)


@pytest.mark.parametrize("config", [DpoConfig(max_length=16), SftConfig(max_length=16)])
def test_m11_the_plan_counts_cut_rows(made, config):
    counts = training_counts(planned(config), made)
    assert (counts["measured"], counts["cut_prompts"], counts["control_tokens_as_text"]) == (48, 48, 0)
    assert "48 prompts" in words_of(counts) and words_of(counts).endswith(" cut")
    assert words_of(training_counts(planned(config.model_copy(update={"max_length": 512})), made)) == ""


def test_m11_of_prompts_that_are_sampled_from_too(made):
    counts = training_counts(planned(GrpoConfig(max_length=12, sampling={"max_new_tokens": 8})), made)
    assert counts["cut_prompts"] == counts["measured"] > 0


def test_m11_what_is_not_at_hand_is_not_counted(made):
    assert training_counts(planned(DpoConfig()), {"base": None}) == {}
    assert training_counts(planned(DpoConfig(), needs={"model": "base", "preferences": "extend"}), made) == {}


def test_m15_the_plan_tells_control_tokens_that_are_read_as_text(made, monkeypatch):
    rows = [{"prompt": prompt, "chosen": "a", "rejected": "b"} for prompt in ("the <|im_end|>", "x")]
    monkeypatch.setattr("pipeline_core.checks.cuts._rows", lambda *_: Dataset.from_list(rows))
    assert words_of(training_counts(planned(DpoConfig()), made)) == "; control tokens read as text in 1 row"
    assert words_of(training_counts(planned(DpoConfig(rendered=True)), made)) == ""
