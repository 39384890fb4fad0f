"""The layers: who may import whom, and what stays out of a quick start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_core.plugin.specs import STAGES
from tests.architecture.rooms import PACKAGES, circles, graph, modules

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torch", "transformers", "datasets", "peft", "mlflow", "prefect", "sklearn", "matplotlib", "pandas"}
TORCH_ROOMS = ("losses", "models", "studies", "training")
"""Rooms that hold tensors. Private modules of a plugin may load torch too: `plugin.py` imports them when it runs."""


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


def test_no_module_is_in_an_import_circle():
    assert circles(graph()) == []


@pytest.mark.parametrize("file", [file for folder in (*PACKAGES, "tests", "benchmarks") for file in files(folder)])
def test_imports_name_modules_that_exist(file):
    """Type checkers pass over modules that they do not find, as extras may be missing."""
    known = modules()
    own = {module for module in imports(file) if module.partition(".")[0] in PACKAGES}
    assert own <= known.keys(), own - known.keys()


def test_tests_stand_in_folders_named_after_what_they_test():
    """`tests/ROOM` is about `pipeline_core/ROOM`; the others are about the whole."""
    rooms = {path.name for path in (ROOT / "pipeline_core").iterdir() if (path / "__init__.py").exists()}
    whole = {"architecture", "fuzz", "sample_plugin", "walkthrough", "plugins", "flows", "benchmarks"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("**/*.py"))}
    assert folders - whole <= rooms
    assert {path.name for path in (ROOT / "tests" / "plugins").iterdir() if any(path.glob("*.py"))} <= {*STAGES}
    assert rooms - folders <= {"network", "packages"}, "rooms that others' tests cover"


def test_rooms_not_modules_stand_at_the_root_of_the_core():
    assert sorted(path.name for path in (ROOT / "pipeline_core").glob("*.py")) == ["__init__.py", "errors.py"]


@pytest.mark.parametrize("folder", ["pipeline_core", "plugins", "flows"])
def test_a_package_holds_a_docstring_and_imports_alone(folder):
    for file in (ROOT / folder).rglob("__init__.py"):
        nodes = ast.parse(file.read_text(encoding="utf-8")).body
        code = [ast.unparse(node) for node in nodes[is_docstring(nodes) :] if not is_import(node)]
        assert all(line.startswith("__all__ = ") for line in code), (file, code)


def is_docstring(nodes):
    return bool(nodes) and isinstance(nodes[0], ast.Expr) and isinstance(nodes[0].value, ast.Constant)


def is_import(node):
    return isinstance(node, (ast.Import, ast.ImportFrom))


@pytest.mark.parametrize("file", files("plugins"))
def test_plugins_do_not_import_each_other(file):
    own = ".".join(Path(file).with_suffix("").parts[:3])
    used = {module for module in imports(file) if module.startswith("plugins")}
    assert all(module == own or module.startswith(f"{own}.") for module in used), used


@pytest.mark.parametrize("file", [*files("pipeline_core"), *files("plugins"), *files("flows")])
def test_heavy_libraries_are_imported_where_they_are_used(file):
    room, name = Path(file).parts[1], Path(file).name
    is_private = file.startswith("plugins/") and name.startswith("_") and name != "__init__.py"
    allowed = HEAVY if room in TORCH_ROOMS or is_private else {"prefect"} if file.startswith("flows/") else set()
    if file == "pipeline_core/tracking/mlflow/client.py":
        allowed = {"mlflow"}
    assert not (packages(imports(file, top_level_only=True)) & HEAVY) - allowed


@pytest.mark.parametrize("file", [*files("flows"), *files("plugins"), *files("pipeline_core/studies")])
def test_backends_of_tracking_are_known_to_nobody(file):
    core = "pipeline_core.tracking"
    known = {f"{core}.{module}" for module in ("lineage", "opening", "protocol", "registry", "values")}
    assert {module for module in imports(file) if module.startswith(core)} <= known


@pytest.mark.parametrize("room", ["losses", "stats"])
def test_pure_functions_know_nothing_of_ours(room):
    for file in files(f"pipeline_core/{room}"):
        core = {module for module in imports(file) if module.startswith("pipeline_core")}
        assert all(module.startswith(f"pipeline_core.{room}") for module in core), (file, core)


@pytest.mark.parametrize("file", files("pipeline_core/training"))
def test_loops_know_no_algorithm_by_name(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    plugins = {Path(plugin).parts[2].removesuffix(".py") for plugin in files("plugins/policy")} - {"__init__"}
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
