import itertools

import pytest

from pipeline_core.checks.overrides import apply_overrides
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.pipeline.config import policy_order
from pipeline_core.pipeline.plan import plan

MINIMAL = {"base": "probe_base", "data": "rows", "policy": ["probe_policy"], "evaluate": "probe_suite"}


def load(registry, *overrides, **changes):
    return load_config({**MINIMAL, **changes}, overrides, registry)


def test_bare_names_become_plugins(registry):
    config = load(registry)
    assert (config.base.name, config.policy[0].beta, config.data.entry) == ("probe_base", 0.5, "rows")


def test_overrides_read_like_error_locations(registry):
    config = load(registry, "policy.0.beta=.1", "seeds=0,1", "base.size=7", "policy.0.label=mine", "data.rows=5")
    assert (config.policy[0].beta, config.seeds, config.base.size) == (0.1, [0, 1], 7)
    assert (config.policy[0].label, config.data.rows) == ("mine", 5)


def test_an_entry_can_be_named_by_its_label():
    document = {"policy": [{"name": "a", "label": "x"}, "b"]}
    assert apply_overrides(document, ["policy.x.beta=2", "policy.b.beta=3"])["policy"] == [
        {"name": "a", "label": "x", "beta": 2},
        {"name": "b", "beta": 3},
    ]
    assert document["policy"][1] == "b"


def test_another_plugin_keeps_the_settings_it_knows_and_drops_the_others(registry):
    old = {"name": "probe_policy", "beta": 1, "label": "l", "processes": 2, "start_from": "other"}
    changed = apply_overrides({"policy": [old]}, ["policy.0.name=probe_rewarded"], registry)["policy"][0]
    assert changed == {"name": "probe_rewarded", "label": "l", "processes": 2, "start_from": "other"}
    assert old["beta"] == 1
    assert apply_overrides({"base": {"name": "a", "size": 1, "label": "l"}}, ["base.name=b"])["base"] == {
        "name": "b",
        "label": "l",
    }


@pytest.mark.parametrize("policy", ["probe_rewarded", ["probe_rewarded"], [{"name": "probe_rewarded", "processes": 2}]])
def test_the_order_of_overrides_does_not_matter(registry, policy):
    overrides = [
        "policy.probe_rewarded.beta=.25",
        "policy.0.name=probe_policy",
        "data.rows=5",
        "data=rows",
        "seeds=1,2",
    ]
    for order in itertools.permutations(overrides):
        config = load(registry, *order, policy=policy)
        assert (config.policy[0].name, config.policy[0].beta, config.data.rows) == ("probe_policy", 0.25, 5)
    config = load(registry, "policy.0.beta=.1", "policy=[probe_policy, probe_rewarded]", "reward=probe_reward")
    assert [entry.name for entry in config.policy] == ["probe_policy", "probe_rewarded"]
    assert config.policy[0].beta == 0.1


def test_an_override_changes_one_place_also_where_an_anchor_shares_it(tmp_path):
    """Rows of one reward were changed with those of all others of the preset."""
    config = load_config("toxicity_scorers", ["reward.1.data.rows=400"])
    assert [[ref.rows for ref in entry.data] for entry in config.reward] == [[None], [400]]
    config = load_config("reward_models", ["reward.0.data.1.rows=7"])
    assert [[ref.rows for ref in entry.data] for entry in config.reward] == [[None, 7], [None, None], [None]]
    file = tmp_path / "mine.yaml"
    file.write_text(
        "base: tiny_lm\ndata: sandbox_pairs\npolicy:\n"
        "  - {name: dpo, label: a, lora: &small {r: 4}}\n  - {name: dpo, label: b, lora: *small}\n"
    )
    first, second = load_config(file, ["policy.b.lora.r=8"]).policy
    assert (first.lora.r, second.lora.r) == (4, 8)


def test_of_two_overrides_of_one_key_the_last_counts(registry):
    assert load(registry, "policy.0.beta=.1", "policy.0.beta=.2").policy[0].beta == 0.2


def test_an_entry_is_added_to_nothing_by_a_list_only(registry):
    with pytest.raises(BadInput, match="there is no entry '0' among 0"):
        apply_overrides({}, ["policy.0.beta=1"], registry)


def test_a_bare_name_below_a_stage_means_data():
    document = {"evaluate": [{"name": "suite", "prompts": "mine"}], "data": "pairs"}
    assert apply_overrides(document, ["evaluate.0.prompts.rows=5", "data.rows=3"]) == {
        "evaluate": [{"name": "suite", "prompts": {"entry": "mine", "rows": 5}}],
        "data": {"entry": "pairs", "rows": 3},
    }


def test_a_single_seed_stands_for_a_list():
    assert apply_overrides({}, ["seeds=3"]) == {"seeds": [3]}


def test_a_quoted_comma_stays_text():
    assert apply_overrides({}, ["description='a, b'", "seeds=[1, 2]"]) == {"description": "a, b", "seeds": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "overrides", "words"),
    [
        (
            {"policy": ["probe_polcy"]},
            [],
            r"policy\.0: unknown policy plugin 'probe_polcy'\. Did you mean 'probe_policy'",
        ),
        ({}, ["policy.0.beta=high"], r"policy\.0\.beta \(probe_policy\): Input should be a valid number.*'high'"),
        ({}, ["policy.0.betta=1"], r"policy\.0\.betta \(probe_policy\): unknown key 'betta'\. Did you mean 'beta'"),
        ({"polcy": []}, [], r"polcy: unknown key 'polcy'\. Did you mean 'policy'"),
        ({"policy": [{"beta": 1}]}, [], r"policy\.0: `name` is missing"),
        ({}, ["seeds=1,1"], "a seed is listed twice"),
        ({}, ["runner.concurency=2"], r"unknown key 'concurency'\. Did you mean 'concurrency'"),
        ({}, ["data.row=2"], r"data\.row: unknown key 'row'\. Did you mean 'rows'"),
        ({}, ["nonsense"], "not of the form key=value"),
        ({}, ["policy.4.beta=1"], "there is no entry '4'"),
        ({}, ["base.size=1", "base.size.x=1"], "'size' is a single value"),
        ({"policy": ["probe_rewarded"]}, [], r"policy\.0 \(probe_rewarded\) needs a reward"),
        ({"policy": ["probe_policy", "probe_policy"]}, [], "two entries are called 'probe_policy'"),
        ({"data": None}, [], "needs preference rows"),
        ({}, ["policy.0.label=base"], "'base' is taken"),
        ({}, ["policy.0.label='a:b'"], r"policy\.0\.label \(probe_policy\): String should match pattern"),
        ({}, ["policy.0.beta=.inf"], r"policy\.0\.beta \(probe_policy\): Input should be a finite number, given inf"),
        ({}, ["policy.0.beta=.nan"], r"policy\.0\.beta \(probe_policy\): Input should be a finite number"),
        ({}, ["data.rows=5", "data.per_stratum=3"], "data: give `rows` or `per_stratum`, not both"),
        ({}, ["runner.device=banana"], r"runner\.device: String should match pattern.*'banana'"),
        ({}, ["seed=-1"], r"seed: Input should be greater than or equal to 0"),
        ({"seeds": [True]}, [], r"seeds\.0: a seed is a whole number, .* not True"),
        ({"seeds": ["010"]}, [], r"seeds\.0: a seed is a whole number, without zeros before it, and not '010'"),
        ({"seed": False}, [], r"seed: a seed is a whole number, .* not False"),
        ({}, ["seeds=0,-1"], r"seeds\.1: Input should be greater than or equal to 0"),
        ({"seeds": [0]}, ["seeds.0.x=1"], r"override 'seeds\.0\.x=1': '0' is a single value"),
        ({"seeds": [0]}, ["seeds.7=1"], "there is no entry '7' among 1"),
        ({"policy": [None]}, ["policy.x.beta=1"], "there is no entry 'x' among 1"),
        ({"policy": [None]}, [], r"policy\.0: Input should be"),
        ({}, ["policy..beta=1"], "not of the form key=value"),
        ({"name": "n"}, ["name.x=1"], "'name' is a single value"),
        (
            {},
            ["data=sandbox_corpus"],
            r"data, which policy\.0 \(probe_policy\) takes: 'sandbox_corpus' holds text rows",
        ),
        ({}, ["data=sandbox_pairs", "data.stratify=[domian]"], r"data\.stratify: .*no column 'domian'.*mean 'domain'"),
    ],
)
def test_bad_input_says_what_and_where(registry, changes, overrides, words):
    with pytest.raises(BadInput, match=words):
        load(registry, *overrides, **changes)


def test_every_problem_is_reported_at_once(registry):
    with pytest.raises(BadInput) as caught:
        load(registry, "policy.0.beta=high", "base.size=big")
    assert len(str(caught.value).splitlines()) == 2


def test_start_from_orders_policies(registry):
    entries = [
        {"name": "probe_policy", "label": "late", "start_from": "early"},
        {"name": "probe_policy", "label": "early"},
    ]
    config = load(registry, policy=entries)
    assert [entry.label for entry in policy_order(config)] == ["early", "late"]
    stages = {stage.id: stage for stage in plan(config, registry)}
    assert stages["policy:late"].needs == {"model": "policy:early", "reference": "policy:early"}


def test_a_cycle_and_an_unknown_start_are_refused(registry):
    first = {"name": "probe_policy", "label": "a", "start_from": "b"}
    second = {"name": "probe_policy", "label": "b", "start_from": "a"}
    with pytest.raises(BadInput, match="start from each other: a -> b -> a"):
        load(registry, policy=[first, second])
    with pytest.raises(UnknownName, match=r"policy\.0\.start_from: unknown policy label 'b'"):
        load(registry, policy=[first])


def test_a_missing_file_and_a_file_that_is_no_mapping(registry, tmp_path):
    with pytest.raises(BadInput, match="no configuration file"):
        load_config(tmp_path / "none.yaml", (), registry)
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(BadInput, match="found list"):
        load_config(tmp_path / "list.yaml", (), registry)
    (tmp_path / "latin.yaml").write_bytes(b"name: x\ndescription: caf\xe9\n")
    with pytest.raises(BadInput, match=r"latin\.yaml, line 2: not UTF-8 text \(byte 0xe9\)"):
        load_config(tmp_path / "latin.yaml", (), registry)
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(BadInput, match="is not YAML"):
        load_config(tmp_path / "broken.yaml", (), registry)
    with pytest.raises(UnknownName, match="unknown preset 'sandbx'"):
        load_config("sandbx", (), registry)
