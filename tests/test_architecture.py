"""The layers: who may import whom, and what stays out of a quick start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "datasets", "peft", "mlflow", "prefect", "sklearn", "matplotlib", "pandas"}
TORCH_MODULES = ("pipeline_core/ops/", "pipeline_core/loops/", "pipeline_core/modeling/", "pipeline_core/sampling/",
                 "pipeline_core/models/distributed.py", "pipeline_core/tokens.py")  # fmt: skip


def files(folder):
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


def imports(file, *, top_level_only=False):
    """Modules a file imports; with `top_level_only` just those that importing the file loads."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = set()

    def visit(node):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            is_type_checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if not (top_level_only and (is_function or is_type_checking)):
                visit(child)

    visit(tree)
    return found


def packages(modules):
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("file", files("pipeline_core"))
def test_the_core_knows_neither_flows_nor_prefect(file):
    used = packages(imports(file))
    assert not used & {"flows", "prefect"}
    if file != "pipeline_core/plugin/registry.py":
        assert "plugins" not in used
    if file != "pipeline_core/tracking/mlflow/client.py":
        assert "mlflow" not in used


@pytest.mark.parametrize("file", files("plugins"))
def test_plugins_stand_on_the_core_alone(file):
    assert not packages(imports(file)) & {"flows", "prefect", "mlflow"}
    assert not any(module.startswith("plugins") for module in imports(file)), "plugins do not import each other"


@pytest.mark.parametrize("file", [*files("pipeline_core"), *files("plugins"), *files("flows")])
def test_heavy_libraries_are_imported_where_they_are_used(file):
    allowed = HEAVY if file.startswith(TORCH_MODULES) else {"prefect"} if file.startswith("flows/") else set()
    if file == "pipeline_core/tracking/mlflow/client.py":
        allowed = {"mlflow"}
    assert not (packages(imports(file, top_level_only=True)) & HEAVY) - allowed


@pytest.mark.parametrize("file", files("pipeline_core/ops"))
def test_pure_functions_know_no_loops_models_or_files(file):
    core = {module for module in imports(file) if module.startswith("pipeline_core")}
    assert all(module.startswith("pipeline_core.ops") for module in core), core


@pytest.mark.parametrize("file", files("pipeline_core/loops"))
def test_loops_know_no_algorithm_by_name(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    plugins = {Path(plugin).stem for plugin in files("plugins/policy")} - {"__init__"}
    names = {f"{quote}{plugin}{quote}" for plugin in plugins for quote in ("'", '"')}
    assert not {name for name in names if name in text}


@pytest.mark.parametrize(
    "module", ["pipeline_core.stage.run", "pipeline_core.plugin.registry", "pipeline_core.pipeline.plan", "flows.cli"]
)
def test_a_quick_start_loads_nothing_heavy(module):
    code = f"import {module}, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_finding_all_plugins_loads_nothing_heavy():
    code = "import sys; from pipeline_core.plugin.registry import load_registry as l; l();"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_name_says_nothing():
    for folder in ("pipeline_core", "plugins", "flows"):
        empty = {"utils", "helpers", "common", "misc", "base_classes"}
        assert not [file for file in files(folder) if Path(file).stem in empty]
