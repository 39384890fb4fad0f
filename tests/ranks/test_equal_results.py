"""Two processes under torchrun make what one makes, to 1e-5; a plugin for one process refuses more.

A worker with another number of ranks than its configuration asks for fails (`place_of`).
"""

import pytest

from benchmarks.processes import artifact, difference
from pipeline_core.errors import BadInput
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import STAGES

QUICK = ("sft",)
ELSEWHERE = {"lm_eval"}
"""Whose example needs the hub; `test_lm_eval.py` has a task of its own."""

SPECS = [spec for stage in STAGES for spec in load_registry().specs(stage)]
SHARING = [spec.name for spec in SPECS if spec.config.shares_work and spec.name not in ELSEWHERE]
ALONE = [(spec.stage, spec.name) for spec in SPECS if not spec.config.shares_work]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in SHARING]
)
def test_two_processes_make_what_one_makes(name):
    registry = load_registry()
    (spec,) = (spec for spec in SPECS if spec.name == name)
    off, where, count = difference(*(artifact(spec, registry, processes) for processes in (1, 2)))
    assert off <= 1e-5, where
    assert count > 10


@pytest.mark.parametrize(("stage", "name"), ALONE)
def test_a_plugin_for_one_process_refuses_two(stage, name):
    spec = load_registry().get(stage, name)
    settings = {"name": name, **spec.example}
    with pytest.raises(ValueError, match=f"{name} works in one process; leave out `processes`"):
        spec.config.model_validate({**settings, "processes": 2})


def test_the_refusal_names_the_place():
    from pipeline_core.checks.whole import load_config

    with pytest.raises(BadInput, match=r"reward.*processes.*tfidf_ridge works in one process"):
        load_config("smoke", ["reward.processes=2"])
