"""A section is one object: every form shows it, and one more takes a module and a template."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Relation, Score
from pipeline_core.report import load_report, write_report
from pipeline_core.report.all_sections import SECTIONS
from pipeline_core.report.figures.model import dump_report
from tests.report.run import FakeRun
from tests.report.test_rewards import with_rewards

ROOT = Path(__file__).parent.parent.parent
PATCH = ROOT / "tests" / "architecture" / "tasks" / "report_section.patch"
SEEN = """
import io, json, sys
from pathlib import Path
from rich.console import Console
from pipeline_core.report import load_report, render_terminal, write_report
from tests.report.run import FakeRun
paths = write_report(FakeRun(Path(sys.argv[1]) / "store").results, {"name": "r"}, Path(sys.argv[1]) / "report")
console = Console(width=100, file=io.StringIO())
render_terminal(console, load_report(paths.json))
page, markdown = paths.html.read_text(encoding="utf-8"), paths.markdown.read_text(encoding="utf-8")
held = json.loads(paths.json.read_text(encoding="utf-8"))["sections"]["slowest"]
print(json.dumps({"page": page, "markdown": markdown, "terminal": console.file.getvalue(), "held": held}))
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the patch")
def test_a_section_more_is_a_module_and_a_template(tmp_path):
    touched = re.findall(r"^\+\+\+ b/(.+)$", PATCH.read_text(encoding="utf-8"), re.MULTILINE)
    assert touched == [f"pipeline_core/report/sections/slowest{ending}" for ending in (".html.j2", ".py")]
    for folder in ("pipeline_core", "data_catalog", "tests/report"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "__init__.py").touch()
    subprocess.run(["git", "apply", PATCH], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-c", SEEN, tmp_path / "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["held"]["seconds"] > 83
    assert '<a href="#slowest">Slowest stages</a>' in seen["page"]
    assert '<section id="slowest">' in seen["page"]
    assert "## Slowest stages" in seen["markdown"]
    for form in ("page", "markdown", "terminal"):
        assert re.search(r"took.*1 min 23 s", seen[form], re.DOTALL)
        assert "Slowest stages" in seen[form]


def test_sections_have_names_and_places_of_their_own():
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)
    assert [section.order for section in SECTIONS] == sorted({section.order for section in SECTIONS})


def test_parts_of_sections_that_are_not_known_are_kept(tmp_path):
    paths = write_report(FakeRun(tmp_path / "store").results, {"name": "r"}, tmp_path / "report")
    before = paths.json.read_text(encoding="utf-8")
    assert "sections" not in json.loads(before)
    assert dump_report(load_report(paths.json)) == before
    paths.json.write_text(
        json.dumps(json.loads(before) | {"sections": {"of_tomorrow": {"value": 1}}}), encoding="utf-8"
    )
    assert load_report(paths.json).sections == {"of_tomorrow": {"value": 1}}


def test_models_are_calibrated_beside_rewards(tmp_path):
    """Curves of models have colours in a run that compares rewards."""
    run = with_rewards(FakeRun(tmp_path / "store", labels=("dpo",)))
    scores = [Score(f"q{i}", "said", 0.05 + 0.009 * (i % 100)) for i in range(200)]
    scores += [Score(f"q{i}", "came", float(i % 3 > 0)) for i in range(200)]
    model = run.results["policy:dpo:seed0"]
    made = run.stage("evaluate", "quiz", "dpo", 0, {"model": model.digest})
    error = partial(Relation, x="said", y="came", statistic="calibration_error", better="lower")
    write_evaluation(made.path, scores, [error("quiz/error")])
    paths = write_report(run.results, {"name": "r"}, tmp_path / "report")
    assert [list(table.curves) for table in paths.report.calibration] == [["dpo"]]
    assert paths.figures[0].relative_to(tmp_path).as_posix() == "report/figures/calibration/quiz.svg"
    write_evaluation(made.path, scores, [error("quiz/error"), error("quiz/error_again")])
    paths = write_report(run.results, {"name": "r"}, tmp_path / "report")
    names = [path.name for path in paths.figures if path.parent.name == "calibration"]
    assert len(set(names)) == 2 and all(name.startswith("quiz-quiz_error") for name in names)
