"""Keys of stages: what is in them, which core package's revision reaches which, and those of before."""

import json
from dataclasses import replace

import pytest

from pipeline_core.checks.whole import load_config
from pipeline_core.conformance.kit import check_config
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.files.digests import digest_of
from pipeline_core.pipeline.plan import plan
from pipeline_core.plugin import revisions
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.revisions import CORE_REVISIONS, packages_of, raised
from pipeline_core.plugin.specs import STAGES
from pipeline_core.stage.key import Job, data_fingerprints, key_of
from pipeline_core.store.artifacts import ArtifactRef
from tests.architecture.rooms import graph, modules

MODULES, IMPORTS = modules(), graph()
PAIRS, ONLINE = ("dpo", "is_dpo", "gr_dpo", "ipo", "sft"), ("grpo", "rloo", "ppo", "online_dpo")
SUITES = ("sandbox_bias", "perplexity", "sampled_reward", "reward_pairs")
CONFIG = {
    "base": "tiny_lm",
    "data": "sandbox_pairs",
    "extend": "counterfactual",
    "reward": "lexicon",
    "policy": [*PAIRS, *({"name": name, "prompts_per_step": 2} for name in ONLINE)],
    "evaluate": list(SUITES),
}


def planned_keys(source):
    """Keys of a whole plan, as if every artifact's digest were its key."""
    registry, catalog, made = load_registry(), Catalog.from_environment(), {}
    for planned in plan(load_config(source), registry):
        job = Job(
            stage=planned.stage,
            config=planned.config.model_dump(mode="json"),
            label=planned.label,
            seed=planned.seed,
            inputs={role: made[need] for role, need in planned.needs.items()},
            data=planned.data,
        )
        key = key_of(job, registry, catalog)
        made[planned.id] = ArtifactRef(kind=STAGES[planned.stage].kind, key=key, digest=key)
    return {name: ref.key for name, ref in made.items()}


@pytest.fixture
def before(data_root):
    """Keys of every stage as they are; some suites name benchmark files."""
    return planned_keys(CONFIG)


def changed(before, monkeypatch, package):
    monkeypatch.setitem(CORE_REVISIONS, package, 2)
    return {name for name, key in planned_keys(CONFIG).items() if key != before[name]}


def models_of(names):
    return {f"policy:{name}" for name in names} | {
        f"evaluate:{suite}:{name}" for name in names for suite in SUITES if not suite.startswith("reward_")
    }


def test_a_change_of_the_online_loop_reaches_its_policies_and_what_follows_alone(before, monkeypatch):
    assert changed(before, monkeypatch, "training.online") == models_of(ONLINE)


def test_a_change_of_the_loop_over_pairs_leaves_the_online_policies(before, monkeypatch):
    assert changed(before, monkeypatch, "training.preference") == models_of(PAIRS)


def test_a_change_of_what_both_loops_share_reaches_both_and_the_base_trained_by_it(before, monkeypatch):
    found = changed(before, monkeypatch, "training")
    assert models_of(PAIRS) | models_of(ONLINE) | {"base"} <= found
    assert not found & {"extend", "reward", "evaluate:reward_pairs:reward:lexicon"}


def test_a_change_of_likelihoods_reaches_the_suites_that_ask_for_them(before, monkeypatch):
    suites = {name.split(":")[1] for name in changed(before, monkeypatch, "models.likelihood")}
    assert suites == {"sandbox_bias", "perplexity"}


def test_a_change_of_reading_reaches_every_stage_that_reads_the_catalog(before, monkeypatch):
    found = changed(before, monkeypatch, "data")
    assert {"base", "extend", "evaluate:perplexity:base"} <= found


def test_a_package_has_the_revisions_of_those_that_hold_it(monkeypatch):
    monkeypatch.setattr(revisions, "CORE_REVISIONS", {"training": 3, "training.online": 2, "training.preference": 1})
    assert raised(["training.online"]) == {"training": 3, "training.online": 2}
    assert raised(["training.preference"]) == {"training": 3}
    assert raised(["training"]) == {"training": 3}
    assert raised(["trainings", "models"]) == {}


def test_first_revisions_of_packages_leave_keys_as_they_were_before_packages_were_counted(monkeypatch):
    monkeypatch.setattr(revisions, "CORE_REVISIONS", dict.fromkeys(CORE_REVISIONS, 1))
    registry, catalog = load_registry(), Catalog.from_environment()
    stages = {"base": 2, "extend": 1, "reward": 4, "policy": 6, "evaluate": 7}
    ref = DataRef(entry="sandbox_pairs")
    for spec in registry.specs():
        if spec.sources or spec.name in ("detoxify", "pretrained"):
            continue
        config = spec.config.model_validate({"name": spec.name, **spec.example})
        identity = {
            "stage": spec.stage,
            "plugin": spec.name,
            "revision": spec.revision,
            "core": stages[spec.stage],
            "config": config.identity(),
            "seed": 3,
            "inputs": {"model": "d"},
            "data": data_fingerprints(config, ref, catalog),
            "sources": {},
        }
        job = Job(
            stage=spec.stage,
            config=config.model_dump(mode="json"),
            label="x",
            seed=3,
            inputs={"model": {"kind": "model", "key": "k", "digest": "d"}},
            data=ref,
        )
        units = {entry: catalog.entry(entry).unit for entry in {json.loads(name)["entry"] for name in identity["data"]}}
        if spec.stage != "evaluate" or not any(units.values()):
            assert key_of(job, registry, catalog) == digest_of(identity), spec.name


def test_the_kit_refuses_a_package_that_is_not_counted():
    spec = replace(load_registry().get("policy", "dpo"), core=("training.offline",))
    with pytest.raises(AssertionError, match=r"`core` names \['training.offline'\]; known are augmentation, data"):
        check_config(spec, spec.example)


def test_every_counted_package_is_one():
    folders = {file.parent for file in MODULES.values() if file.name == "__init__.py"}
    root = MODULES["pipeline_core"].parent
    assert all(root.joinpath(*name.split(".")) in folders for name in CORE_REVISIONS)


@pytest.mark.parametrize("spec", load_registry().specs(), ids=lambda spec: f"{spec.stage}-{spec.name}")
def test_a_plugin_names_the_packages_it_computes_with(spec):
    """Those that its own files import; what is imported for typing and of configurations counts too."""
    module = load_registry().origin(spec).module
    own = [name for name in MODULES if name == module or name.startswith(module.removesuffix("plugin") + "_")]
    used = {counted(name) for file in own for name in IMPORTS[file]} - {None, "data"}
    held = {name for name in CORE_REVISIONS for package in packages_of(spec) if f"{package}.".startswith(f"{name}.")}
    assert used <= held, f"core={tuple(sorted({*packages_of(spec)} | used))}"
    assert {*packages_of(spec)} <= CORE_REVISIONS.keys()


def counted(module):
    name = module.removeprefix("pipeline_core.")
    return max((one for one in CORE_REVISIONS if f"{name}.".startswith(f"{one}.")), key=len, default=None)
