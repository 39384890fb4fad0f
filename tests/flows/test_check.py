"""What `check`, `data validate` and `plugins new` tell about what cannot work, before anything runs."""

import json

import pytest

from tests.flows.test_cli import call


def test_stages_of_every_seed_are_told_apart(capsys):
    assert call("check", "smoke", "seeds=3,4", "--json") == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    facts = [(s["stage"], s["plugin"], s["label"], s["seed"], s.get("suite")) for s in stages]
    assert len(set(facts)) == len(facts)
    assert ("evaluate", "sandbox_bias", "dpo", 3, "sandbox_bias") in facts
    assert ("evaluate", "sandbox_bias", "dpo", 4, "sandbox_bias") in facts
    assert ("evaluate", "sandbox_bias", "base", 0, "sandbox_bias") in facts


def test_steps_and_shares_are_counted_where_the_rows_are_known(capsys):
    overrides = ["extend=null", "policy.dpo.steps=null", "policy.dpo.batch_size=20", "policy.dpo.processes=2"]
    assert call("check", "smoke", *overrides, "--json") == 0
    stages = {stage["id"]: stage for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert "64 rows: 4 steps = 1.25 passes, 20 rows a step (10 for each of 2" in stages["policy:dpo"]["steps"]


def test_what_needs_the_hub_and_what_is_not_pinned_is_told_offline(capsys):
    assert call("check", "bias_grpo") == 0
    told = capsys.readouterr().err.replace("\n", " ")
    assert "needs the hub: data bias_grpo (SaketR1/bias-grpo-data)" in told
    assert "needs the hub: model microsoft/phi-2" in told
    assert "not pinned yet" in told


@pytest.mark.parametrize("setting", ["base.learning_rate=.inf", "policy.dpo.adam_betas=2,3", "runner.device=banana"])
def test_a_setting_that_cannot_work_is_one_message(setting, capsys):
    assert call("check", "smoke", setting) == 2
    assert setting.partition("=")[0].replace("dpo", "0") in capsys.readouterr().err


def test_data_that_are_not_at_hand_are_not_called_faulty(capsys, monkeypatch):
    monkeypatch.delenv("EVENHAND_DATA", raising=False)
    assert call("data", "validate", "bbq") == 2
    told = capsys.readouterr().err
    assert "set EVENHAND_DATA" in told
    assert "faulty" not in told


def test_the_name_of_a_plugin_that_exists_is_refused(tmp_path, capsys):
    assert call("plugins", "new", "dpo", "--stage", "policy", "--into", str(tmp_path)) == 2
    assert "there is a policy plugin 'dpo' already: plugins.policy.dpo" in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.glob("*.py"))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{name: gr_dpo, chi: 2}", "policy.0.chi (gr_dpo)"),
        ("{name: gr_dpo, eta_alpha: 9}", "policy.0 (gr_dpo): eta_alpha (9) saturates the group weights"),
        (
            "{name: gr_ipo, eta_alpha: 1.0e-9, steps: 3}",
            "policy.0 (gr_ipo): eta_alpha (1e-09) leaves the group weights",
        ),
        ("{name: is_ipo}", "policy.0 (is_ipo): group_by: all 2 rows belong to one domain ('age')"),
        ("{name: is_ipo, group_by: group}", "group_by: none of the 2 rows has a group"),
        ("{name: dpo, validation: {data: sandbox_pairs}}", "policy.0 (dpo): validation.data: group"),
    ],
)
def test_weights_that_cannot_work_are_refused_before_any_stage(policy, words, tmp_path, monkeypatch, capsys):
    rows = [{"id": str(i), "prompt": "a", "chosen": "b", "rejected": "c", "domain": "age", "group": ""} for i in (1, 2)]
    if "eta" in policy:
        rows[0]["domain"] = "race"
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = "pairs: {kind: jsonl, path: pairs.jsonl, rows: preference, licence: own, citation: own}"
    (tmp_path / "catalog.yaml").write_text(entry)
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    (tmp_path / "mine.yaml").write_text(f"base: tiny_lm\ndata: pairs\npolicy: [{policy}]\n")
    assert call("run", str(tmp_path / "mine.yaml")) == 2
    assert words in " ".join(capsys.readouterr().err.split())
