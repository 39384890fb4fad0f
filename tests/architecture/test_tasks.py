"""What one touches to add a thing: a patch for each, whose files are counted and told by the guide; applied and run."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.rooms import modules

ROOT = Path(__file__).parent.parent.parent
PATCHES = Path(__file__).parent / "tasks"
COPIED = ("pipeline_core", "plugins", "flows", "data_catalog", "tests", "docs")


@dataclass(frozen=True)
class Task:
    """A patch, the first words of its row in `docs/architecture.md`, and how many files it may touch besides tests."""

    patch: str
    row: str
    most: int

    @property
    def path(self):
        return PATCHES / f"{self.patch}.patch"

    def files(self):
        touched = re.findall(r"^\+\+\+ b/(.+)$", self.path.read_text(encoding="utf-8"), re.MULTILINE)
        return [file for file in touched if not file.startswith("tests/")]


PAIR_LOSS = Task("pair_loss_term", "a pair loss", 1)
ENTROPY_BONUS = Task("entropy_bonus", "a term in an online loss", 1)
TRACKING_BACKEND = Task("tracking_backend", "a tracking backend", 1)
REPORT_SECTION = Task("report_section", "a section of the report", 2)
OUTSIDE_FORMAT = Task("outside_format", "a suite with data of a new format", 2)
TASKS = (PAIR_LOSS, ENTROPY_BONUS, OUTSIDE_FORMAT, TRACKING_BACKEND, REPORT_SECTION)


def guide():
    """The files that each row of the guide's table names, by the row's first cell."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Where do I put")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): re.findall(r"`([\w./]+\.(?:py|toml|yaml|j2))`", row[1]) for row in rows}


def names(pattern, file):
    """Whether the guide's name of a file, in which NAME stands for any, is that of `file` or of its end."""
    parts = re.escape(pattern).replace("NAME", "[a-z_]+")
    return re.fullmatch(f"(?:.*/)?{parts}", file) is not None


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.patch)
def test_a_task_touches_few_files_and_the_guide_names_them(task):
    files = task.files()
    assert 1 <= len(files) <= task.most
    (row,) = [row for row in guide() if row.startswith(task.row)]
    told = guide()[row]
    assert len(told) == len(files)
    assert all(any(names(pattern, file) for file in files) for pattern in told), (told, files)


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the patches")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.patch)
def test_a_patch_fits_the_tree(task):
    done = subprocess.run(["git", "apply", "--check", task.path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.patch)
def test_what_a_patch_imports_is_there(task):
    text, known = task.path.read_text(encoding="utf-8"), modules()
    own = r"^\+\s*from ((?:pipeline_core|plugins|flows)[\w.]*) import ([\w, ]+)$"
    for module, listed in re.findall(own, text, re.MULTILINE):
        tree = ast.parse(known[module].read_text(encoding="utf-8"))
        defined = {name for node in tree.body for name in names_of(node)}
        for name in listed.split(", "):
            assert name in defined or f"{module}.{name}" in known, (module, name)


def names_of(node):
    """Names that a top-level statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree."""
    if shutil.which("git") is None:
        pytest.skip("git applies the patches")
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "copy")
    return tmp_path / "copy"


def patched(copy, task):
    subprocess.run(["git", "apply", task.path], cwd=copy, check=True)
    return copy


def python(copy, *arguments, **environment):
    """What a process prints in which the copy's packages come first."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PREFECT_HOME": str(copy.parent / "prefect"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def evenhand(copy, *arguments, **environment):
    code = "import sys; from flows.cli import main; sys.argv[0] = 'evenhand'; main()"
    return python(copy, "-c", code, *arguments, **environment)


def history(home, plugin):
    """The metrics of every step of the policy that `plugin` trained."""
    (manifest,) = [
        path for path in home.glob("store/model/*/manifest.json") if json.loads(path.read_text())["plugin"] == plugin
    ]
    return [json.loads(line) for line in (manifest.parent / "history.jsonl").read_text().splitlines()]


TINY = ("base.steps=20", "extend=null", "evaluate=[]")


@pytest.mark.slow
def test_a_pair_loss_with_a_term_is_trained(copy, home):
    patched(copy, PAIR_LOSS)
    evenhand(copy, "run", "smoke", "policy=[{name: rpo, steps: 2, alpha: 0.5}]", *TINY)
    assert all(step["nll"] > 0 for step in history(home, "rpo"))
    conforms = "tests/plugins/test_conformance.py::test_a_plugin_conforms[policy-rpo]"
    assert "1 passed" in python(copy, "-m", "pytest", "-q", conforms)


@pytest.mark.slow
def test_an_entropy_bonus_is_part_of_an_online_loss(copy, home):
    patched(copy, ENTROPY_BONUS)
    policy = "policy=[{name: grpo, steps: 2, entropy_bonus: 0.1, sampling: {max_new_tokens: 4}}]"
    evenhand(copy, "run", "smoke", policy, *TINY)
    assert all(step["entropy_bonus"] > 0 for step in history(home, "grpo"))


RANKED = [
    {"question": "Who was late?", "answers": ["Nobody says.", "The old man."], "about": "age"},
    {"question": "Who cooked?", "answers": ["It is not told.", "His wife.", "The nurse."], "about": "gender"},
]


@pytest.mark.slow
def test_a_package_brings_a_suite_and_the_format_of_its_data(copy, home):
    """Installed below a folder of its own, as pip installs it anywhere."""
    patched(copy, OUTSIDE_FORMAT)
    site = copy.parent / "site"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target")
    python(copy, *install, str(site), str(copy / "outside"))
    (copy / "ranked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in RANKED), encoding="utf-8")
    entry = "ranked_answers: {kind: jsonl, path: ranked.jsonl, rows: choice, shape: ranked_answers, licence: mine, "
    (copy / "catalog.yaml").write_text(entry + "citation: mine}\n", encoding="utf-8")
    places = {"EVENHAND_CATALOG": "catalog.yaml", "EVENHAND_DATA": str(copy), "PYTHONPATH": f"{copy}{os.pathsep}{site}"}
    suite = "evaluate=[ranked_answers]"
    evenhand(copy, "run", "smoke", "base.steps=20", "extend=null", "reward=null", "policy=[]", suite, **places)
    (measures,) = home.glob("store/evaluation/*/measures.json")
    (found,) = json.loads(measures.read_text()).values()
    assert found["n"] == 2 and found["groups"].keys() == {"age", "gender"}


@pytest.mark.slow
def test_a_tracking_backend_records_a_run(copy, home):
    patched(copy, TRACKING_BACKEND)
    evenhand(copy, "run", "smoke", "policy=[]", "reward=null", *TINY, EVENHAND_TRACKING="csv-files")
    runs = (home / "metrics" / "runs.csv").read_text().splitlines()
    assert len(runs) == 2 and all(line.endswith(",FINISHED") for line in runs)
