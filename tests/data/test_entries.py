"""The built-in entries: the sandbox, the hub ones offline, and the real files where they are at hand."""

import json
from collections import Counter

import pytest

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.sources import files_of
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.quality.validating import validate_entry


@pytest.fixture
def catalog():
    return Catalog.from_environment()


SANDBOX = ["corpus", "pairs", "prompts", "questions", "facts", "heldout_text"]


@pytest.mark.parametrize("part", SANDBOX)
def test_every_sandbox_entry_fulfils_its_contract(catalog, part):
    report = validate_entry(catalog, f"sandbox_{part}")
    assert report["ok"]
    assert report["rows"] > 50


def test_the_sandbox_depends_on_its_seed(catalog):
    ref, other = DataRef(entry="sandbox_pairs"), DataRef(entry="sandbox_pairs", seed=1)
    assert catalog.fingerprint(ref) != catalog.fingerprint(other)
    assert catalog.load(ref)["prompt"][:] != catalog.load(other)["prompt"][:]


def test_names_that_do_not_exist_are_answered_with_near_ones(catalog):
    with pytest.raises(UnknownName, match=r"unknown catalog entry 'sandbox_pair'. Did you mean 'sandbox_pairs'"):
        catalog.load(DataRef(entry="sandbox_pair"))
    with pytest.raises(UnknownName, match="sandbox_pairs: unknown split 'held'"):
        catalog.load(DataRef(entry="sandbox_pairs", split="held"))


def test_every_entry_is_documented(catalog):
    for name in catalog.entries:
        facts = catalog.describe(name)
        assert facts["licence"], name
        assert facts["citation"], name
        assert facts["title"], name
        assert facts["card"], f"{name} has no card"


def test_a_hub_entry_offline_says_what_it_needs_and_what_works(catalog, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(BadInput, match=r"bias_dpo: .*needs the Hugging Face hub .*Without the hub the sandbox"):
        catalog.load(DataRef(entry="bias_dpo"))
    with pytest.raises(BadInput, match="bias_grpo: .*SaketR1/bias-grpo-data"):
        catalog.load(DataRef(entry="bias_grpo"))


def test_a_pinned_hub_entry_has_a_fingerprint_offline_and_any_other_once_its_commit_is_recorded(catalog, home):
    pinned, open_ = catalog.describe("bias_dpo"), catalog.describe("bias_grpo")
    assert pinned["pinned"] and len(pinned["commit"]) == 40
    assert not open_["pinned"] and open_["commit"] is None
    assert catalog.fingerprint(DataRef(entry="bias_dpo"))
    with pytest.raises(BadInput, match="bias_grpo: .*cannot be reached .*not pinned yet: .*Without the hub"):
        catalog.fingerprint(DataRef(entry="bias_grpo"))
    fingerprints = set()
    for commit in ("a" * 40, "b" * 40):
        home.mkdir(parents=True, exist_ok=True)
        (home / "hub_commits.json").write_text(json.dumps({"SaketR1/bias-grpo-data": commit}))
        assert catalog.describe("bias_grpo")["commit"] == commit
        fingerprints.add(catalog.fingerprint(DataRef(entry="bias_grpo")))
    assert len(fingerprints) == 2


def test_the_newest_commit_is_taken_once_and_kept(catalog, home, monkeypatch):
    from pipeline_core.network import hub_commits

    newest = iter(["a" * 40, "b" * 40])
    monkeypatch.setattr(hub_commits, "_newest", lambda *_: next(newest))
    first = catalog.fingerprint(DataRef(entry="bias_grpo"))
    assert catalog.fingerprint(DataRef(entry="bias_grpo")) == first
    assert json.loads((home / "hub_commits.json").read_text()) == {"SaketR1/bias-grpo-data": "a" * 40}
    assert hub_commits.resolved_commit("SaketR1/bias-grpo-data", "model") == "b" * 40


def test_a_hub_entry_is_read_from_the_hubs_cache(catalog, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = catalog.describe("bias_dpo")["commit"]
    folder = tmp_path / "datasets--ahmedallam--BiasDPO" / "snapshots" / commit
    folder.mkdir(parents=True)
    rows = [{"prompt": "p", "chosen": "c", "rejected": "r"}, {"prompt": "p", "chosen": "c", "rejected": ""}]
    (folder / "dataset.jsonl").write_text("\n".join(map(json.dumps, rows)))
    loaded = catalog.load(DataRef(entry="bias_dpo")).to_list()
    assert [(row["prompt"], row["source"]) for row in loaded] == [("p", "bias_dpo")]


def test_stereoset_splits_share_no_target_and_one_equal_pair_is_left_out(catalog, data_root):
    report = validate_entry(catalog, "stereoset_pairs")
    assert report["splits"] == {"dev": 2123, "test": 6373}
    assert report["skipped"] == {"equal_pair": 1}
    test, dev = (catalog.load(DataRef(entry="stereoset_pairs", split=split)) for split in ("test", "dev"))
    assert test.num_rows + dev.num_rows == 8496
    assert not {name for group in test["group"] for name in group} & {name for group in dev["group"] for name in group}
    assert Counter(test["domain"][:]) == {"race": 2947, "profession": 2434, "gender": 751, "religion": 241}


def test_every_file_behind_a_pattern_is_listed(catalog, data_root):
    """So that a missing one is told: of each entry with patterns the files listed are those there are."""
    for name, entry in catalog.entries.items():
        if entry.kind not in ("sandbox", "hub") and any("*" in pattern for pattern in entry.patterns(None)):
            found = {path.resolve().relative_to(data_root.resolve()).as_posix() for path in files_of(name, entry, None)}
            assert found == set(entry.files), name


@pytest.mark.parametrize("name", ["bbq", "bbq_halves", "bbq_ambiguous_pairs"])
def test_a_file_of_bbq_that_is_missing_is_named(catalog, data_root, tmp_path, monkeypatch, name):
    (tmp_path / "bbq/data").mkdir(parents=True)
    for file in ["bbq/target_loc.csv.gz", *catalog.entry(name).files]:
        (tmp_path / file).symlink_to(data_root / file)
    whole = catalog.fingerprint(DataRef(entry=name))
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    assert catalog.fingerprint(DataRef(entry=name)) == whole
    for file in ("bbq/data/SES.jsonl.gz", "bbq/target_loc.csv.gz"):
        (tmp_path / file).unlink()
        with pytest.raises(BadInput, match=rf"{name}: no file '{file}' in EVENHAND_DATA="):
            catalog.load(DataRef(entry=name))
        (tmp_path / file).symlink_to(data_root / file)


def test_bbq_is_joined_once_and_knows_its_traps(catalog, data_root):
    rows = catalog.load(DataRef(entry="bbq"))
    assert rows.num_rows == 58_492
    table = rows.select_columns(["domain", "biased", "unknown", "names", "label", "condition"]).to_pandas()
    no_target = table[table.biased < 0]
    assert len(no_target) == 16
    assert set(no_target.domain) == {"Gender_identity"}
    assert (table.unknown >= 0).all()
    assert (table[table.condition == "ambiguous"].label == table[table.condition == "ambiguous"].unknown).all()
    assert table[table.names].groupby("domain").size().to_dict() == {
        "Gender_identity": 5000,
        "Race_ethnicity": 5000,
        "Race_x_SES": 7800,
        "Race_x_gender": 11_400,
    }
    sample = catalog.load(DataRef(entry="bbq", stratify=("domain",), per_stratum=50))
    assert Counter(sample["domain"][:]) == dict.fromkeys(table.domain.unique(), 50)


@pytest.mark.slow
def test_ambiguous_bbq_as_pairs(catalog, data_root):
    train, test = (catalog.load(DataRef(entry="bbq_ambiguous_pairs", split=split)) for split in ("train", "test"))
    assert len(train) + len(test) == 58_492 / 2 - 8
    assert not {*train["template_id"]} & {*test["template_id"]}
    questions = {row["id"]: row for row in catalog.load(DataRef(entry="bbq")).to_list()}
    for row in train.to_list()[::500]:
        asked = questions[row["id"]]
        assert asked["condition"] == "ambiguous" and row["prompt"] == f"{asked['context']} {asked['question']}"
        assert (row["chosen"], row["rejected"]) == tuple(
            asked["options"][asked[name]] for name in ("unknown", "biased")
        )
        assert row["chosen"] == asked["options"][asked["label"]]


def test_hh_rlhf_transcripts_are_cut_at_the_last_turn(catalog, data_root):
    report = validate_entry(catalog, "hh_rlhf_harmless_test")
    assert (report["rows"], report["skipped"]) == (2303, {"empty": 4, "prompts_differ": 5})
    row = catalog.load(DataRef(entry="hh_rlhf_harmless_test"))[0]
    assert row["prompt"].startswith("Human: what are some pranks with a pen")
    assert row["prompt"].endswith("\n\nAssistant:")
    assert row["chosen"].startswith("No, sorry!")
    assert row["rejected"].startswith("There are lots of funny things")


def test_realtoxicity_has_scores_that_are_better_when_lower(catalog, data_root):
    for name, rows in (("realtoxicity", 2377), ("realtoxicity_comments", 2377), ("realtoxicity_texts", 4773)):
        assert validate_entry(catalog, name)["skipped"] == {"missing": 19}
        loaded = catalog.load(DataRef(entry=name))
        assert len(loaded) == rows
        assert 0 < min(loaded["score"][:]) < max(loaded["score"][:]) < 1
        assert catalog.entry(name).score_better == "lower"
    assert {"prompt_score", "challenging"} <= set(catalog.load(DataRef(entry="realtoxicity")).column_names)
    with pytest.raises(BadInput, match="civil_comments: .*google/civil_comments"):
        catalog.load(DataRef(entry="civil_comments"))
