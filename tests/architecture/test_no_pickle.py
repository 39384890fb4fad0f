"""No module loads a pickle, runs code that comes with a model, or leaves the choice to a library's default."""

import ast
from pathlib import Path

import pytest

from tests.architecture.rooms import PACKAGES

ROOT = Path(__file__).parent.parent.parent
PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "pickle5"}
HARMLESS = {("pickle", "UnpicklingError")}
"""Names of these modules that load nothing."""
LOADERS = {"read_pickle", "load_pickle", "load_dataset", "load_from_disk", "hub_load", "unsafe_load", "full_load"}
"""Functions of libraries that may load pickles or run code beside the data."""


def faults(source):
    """Each fault as text with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: import {a.name}" for a in node.names if a.name.partition(".")[0] in PICKLERS]
        if isinstance(node, ast.ImportFrom) and (module := (node.module or "").partition(".")[0]) in PICKLERS:
            names = [alias.name for alias in node.names if (module, alias.name) not in HARMLESS]
            found += [f"{node.lineno}: from {module} import {name}" for name in names]
        if isinstance(node, ast.Call) and (fault := of_call(node)):
            found.append(f"{node.lineno}: {fault}")
    return found


def of_call(node):
    called = ast.unparse(node.func)
    name = called.rpartition(".")[2]
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
    if name == "load" and called.partition(".")[0] == "torch" and given.get("weights_only") is not True:
        return f"{called} without weights_only=True"
    if given.get("allow_pickle", False) is not False:
        return f"{called} with allow_pickle"
    if given.get("trust_remote_code", False) is not False:
        return f"{called} with trust_remote_code"
    if name == "from_pretrained" and "trust_remote_code" not in given:
        return f"{called} without trust_remote_code=False"
    if name in LOADERS or called == "yaml.load":
        return called
    return ""


def files():
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_no_module_loads_a_pickle_or_runs_a_models_code():
    assert len(files()) > 300
    found = {str(path.relative_to(ROOT)): faults(path.read_text(encoding="utf-8")) for path in files()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, joblib as j",
        "def f():\n    from dill import loads",
        "from pickle import UnpicklingError, loads",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.load(file, weights_only=maybe)",
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=maybe)",
        "pd.read_pickle(file)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "datasets.load_dataset(folder)",
        "yaml.load(text)",
    ],
)
def test_the_check_notices(source):
    assert faults(source)


def test_what_is_harmless_passes():
    harmless = [
        "from pickle import UnpicklingError",
        "torch.load(file, weights_only=True)",
        "np.load(file)",
        "json.loads(text)",
        "AutoModel.from_pretrained(folder, trust_remote_code=False)",
    ]
    assert [faults(source) for source in harmless] == [[]] * len(harmless)
