"""The classifiers of detoxify: the package's own numbers, without the package once they are an artifact."""

import importlib.util

import pytest

from pipeline_core.conformance.kit import check_plugin
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.scorers import ToxicityScorer
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from plugins.reward import detoxify as plugin
from tests.plugins.reward.detoxify_checkpoint import detoxify_checkpoint

TEXTS = ["they were rude.", "they were kind.", "rude rude", "."]


def made(tmp_path, **settings):
    config = {"name": "detoxify", "checkpoint": str(detoxify_checkpoint(tmp_path / "tiny")), **settings}
    job = Job(stage="reward", label="d", config=config, runner=ExecutionSettings(launch="in_process", device="cpu"))
    return run_stage(job, Store(tmp_path / "store"), load_registry())


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'evenhand\[detoxify\]'"):
        plugin.sources(plugin.DetoxifyConfig())


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self):
        return pytest.importorskip("detoxify", reason="detoxify is not installed")

    @pytest.mark.parametrize("output", ["toxicity", "insult"])
    def test_a_scorer_says_what_the_package_says(self, tmp_path, package, output):
        result = made(tmp_path, output=output)
        said = ToxicityScorer("d", result.path, "cpu", load_registry())(TEXTS)
        expected = package.Detoxify(checkpoint=str(tmp_path / "tiny" / "tiny.ckpt")).predict(TEXTS)[output]
        assert said == pytest.approx(expected, abs=1e-5)
        assert max(expected) - min(expected) > 0.005, "the texts are told apart"
        assert (result.metrics["sign"], result.metrics["sign/declared"]) == (-1, 1)

    def test_an_unknown_output_and_a_missing_file_are_named(self, tmp_path):
        with pytest.raises(UnknownName, match="'toxic'.*toxicity"):
            made(tmp_path, output="toxic")
        with pytest.raises(BadInput, match=r"there is no file .*none.ckpt"):
            plugin.sources(plugin.DetoxifyConfig(checkpoint=str(tmp_path / "none.ckpt")))

    def test_it_conforms(self, tmp_path):
        settings = {"checkpoint": str(detoxify_checkpoint(tmp_path / "tiny")), "max_length": 64}
        (tmp_path / "kit").mkdir()
        check_plugin("reward", "detoxify", tmp_path / "kit", settings)
