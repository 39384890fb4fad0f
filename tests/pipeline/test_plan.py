import pytest

from pipeline_core.checks.overrides import apply_overrides
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from pipeline_core.pipeline.plan import plan

MINIMAL = {"base": "probe_base", "data": "rows", "policy": ["probe_policy"], "evaluate": "probe_suite"}


def load(registry, *overrides, **changes):
    return load_config({**MINIMAL, **changes}, overrides, registry)


def planned(registry, *overrides, **changes):
    return {stage.id: stage for stage in plan(load(registry, *overrides, **changes), registry)}


def test_the_plan_fans_out_over_algorithms_seeds_and_suites(registry):
    config = load(
        registry, "seeds=3,4", extend="probe_extend", reward="probe_reward", policy=["probe_policy", "probe_rewarded"]
    )
    stages = plan(config, registry)
    ids = [stage.id for stage in stages]
    assert len(ids) == len(set(ids)) == 3 + 2 * 2 + 5
    for position, stage in enumerate(stages):
        assert set(stage.needs.values()) <= set(ids[:position])
    rewarded = next(stage for stage in stages if stage.id == "policy:probe_rewarded:seed4")
    assert rewarded.needs == {"model": "base", "reference": "base", "preferences": "extend", "reward": "reward"}
    assert rewarded.data is None and rewarded.seed == 4
    plain = next(stage for stage in stages if stage.id == "policy:probe_policy:seed3")
    assert "reward" not in plain.needs
    measured = next(stage for stage in stages if stage.id == "evaluate:probe_suite:probe_policy:seed3")
    assert (measured.seed, measured.model_seed, measured.label) == (0, 3, "probe_policy")
    told_apart = {(s.stage, s.config.name, s.label, s.record_seed, s.suite) for s in stages}
    assert len(told_apart) == len(stages)
    base = next(stage for stage in stages if stage.id == "evaluate:probe_suite:base")
    assert (base.model_seed, base.record_seed, base.suite) == (None, 0, "probe_suite")


def extender(label):
    return {"name": "probe_extend", "label": label}


def test_extensions_side_by_side_are_combined_with_the_rows_of_data(registry):
    stages = planned(registry, extend=[extender("a"), extender("b"), "probe_mix", extender("after")])
    assert stages["extend:a"].needs == stages["extend:b"].needs == {}
    assert stages["extend:a"].data.entry == stages["extend:probe_mix"].data.entry == "rows"
    assert stages["extend:probe_mix"].needs == {"part:a": "extend:a", "part:b": "extend:b"}
    assert stages["extend:after"].needs == {"preferences": "extend:probe_mix"}
    assert stages["policy:probe_policy"].needs["preferences"] == "extend:after"
    assert stages["extend:after"].data is stages["policy:probe_policy"].data is None


def test_what_is_combined_takes_the_place_of_data(registry):
    second = {"name": "probe_mix", "label": "second"}
    stages = planned(registry, extend=[extender("a"), "probe_mix", extender("b"), second])
    assert stages["extend:second"].needs == {"part:probe_mix": "extend:probe_mix", "part:b": "extend:b"}
    assert stages["extend:second"].data is None
    assert stages["policy:probe_policy"].needs["preferences"] == "extend:second"


def test_policies_take_the_last_reward_and_each_is_evaluated(registry):
    rewards = ["probe_reward", {"name": "probe_reward", "label": "other"}, "probe_ensemble"]
    stages = planned(
        registry, reward=rewards, policy=["probe_rewarded"], evaluate=["probe_suite", "probe_reward_suite"]
    )
    assert stages["policy:probe_rewarded"].needs["reward"] == "reward:probe_ensemble"
    parts = {"part:probe_reward": "reward:probe_reward", "part:other": "reward:other"}
    assert stages["reward:probe_ensemble"].needs == parts
    assert stages["reward:other"].needs == {} and stages["reward:other"].data.entry == "rows"
    measured = {name: stage for name, stage in stages.items() if name.startswith("evaluate:probe_reward_suite")}
    assert [stage.needs for stage in measured.values()] == [
        {"reward": f"reward:{label}"} for label in ("probe_reward", "other", "probe_ensemble")
    ]
    assert measured["evaluate:probe_reward_suite:reward:other"].label == "other"
    assert {name for name in stages if name.startswith("evaluate:probe_suite")} == {
        "evaluate:probe_suite:base",
        "evaluate:probe_suite:probe_rewarded",
    }


def test_rewards_alone_need_no_base(registry):
    changes = {"base": None, "policy": [], "reward": "probe_reward", "evaluate": "probe_reward_suite"}
    assert list(planned(registry, **changes)) == ["reward", "evaluate:probe_reward_suite:reward:probe_reward"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extend": [extender("a"), extender("b")]}, "a, b stand side by side; end the list with"),
        ({"extend": ["probe_mix", extender("a"), extender("b")]}, "a, b stand side by side"),
        ({"data": None, "extend": "probe_mix"}, r"extend\.0 \(probe_mix\) has nothing to combine"),
        ({"extend": [extender("a"), extender("a"), "probe_mix"]}, "two entries are called 'a'"),
        ({"extend": [extender("data"), "probe_mix"]}, "'data' is taken by the rows of `data`"),
        ({"reward": ["probe_ensemble", "probe_reward"]}, r"reward\.0 \(probe_ensemble\) has nothing to combine"),
        ({"base": None}, r"policy\.0 \(probe_policy\) needs a base model"),
        ({"base": None, "policy": [], "evaluate": []}, "there is nothing to do"),
        ({"base": None, "policy": []}, r"evaluate\.0 \(probe_suite\) needs a base model"),
        ({"evaluate": "probe_reward_suite"}, r"evaluate\.0 \(probe_reward_suite\) needs a reward"),
    ],
)
def test_chains_that_lead_nowhere_are_refused(registry, changes, words):
    with pytest.raises(BadInput, match=words):
        load(registry, **changes)


def test_the_only_entry_of_a_chain_needs_no_number(registry):
    assert apply_overrides({"reward": "a"}, ["reward.x=1"])["reward"] == [{"name": "a", "x": 1}]
    assert apply_overrides({"reward": ["a"]}, ["reward.a.x=1"])["reward"] == [{"name": "a", "x": 1}]
    assert apply_overrides({}, ["reward.name=a", "reward.x=1"])["reward"] == [{"name": "a", "x": 1}]
    assert apply_overrides({"extend": "a"}, ["extend=null"])["extend"] == []
    with pytest.raises(BadInput, match="there is no entry 'x' among 2"):
        apply_overrides({"reward": ["a", "b"]}, ["reward.x=1"])
