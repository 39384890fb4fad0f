from types import SimpleNamespace
from typing import Literal

import pytest

from pipeline_core.data.formats.format import DataFormat
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import STAGES, BaseModelSource, PluginConfig, PolicyOptimizer
from tests.stage import probes


def module_with(**hooks):
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


class Fine(PluginConfig):
    name: Literal["fine"] = "fine"


class Nameless(PluginConfig):
    beta: float = 1.0


class AnyName(PluginConfig):
    name: str = "aaa"


class TwoNames(PluginConfig):
    name: Literal["aaa", "bbb"] = "aaa"


class Colon(PluginConfig):
    name: Literal["a:b"] = "a:b"


class Undefined(PluginConfig):
    name: Literal["undefined"] = "undefined"
    beta: "Nowhere" = 1.0  # noqa: F821 - that is the point


def spec(config=Fine):
    return BaseModelSource(config, probes.run_base)


def test_specs_come_in_the_order_of_stages(registry):
    stages = [s.stage for s in registry.specs()]
    assert list(dict.fromkeys(stages)) == ["base", "extend", "reward", "policy", "evaluate"]
    assert stages == sorted(stages, key=list(STAGES).index)
    assert registry.get("policy", "probe_policy").config is probes.ProbePolicy
    assert registry.origin(registry.get("policy", "probe_policy")).distribution == "probe-package"


def test_an_unknown_name_is_answered_with_the_nearest(registry):
    with pytest.raises(UnknownName, match=r"policy\.0: unknown policy plugin 'probe_polici'.*'probe_policy'"):
        registry.get("policy", "probe_polici", "policy.0")


def test_an_unknown_name_is_answered_with_names_of_its_stage_alone(registry):
    with pytest.raises(UnknownName) as error:
        registry.get("policy", "probe_base")
    assert str(error.value).startswith("unknown policy plugin 'probe_base'")
    assert "'probe_base'" not in str(error.value).removeprefix("unknown policy plugin 'probe_base'")


def test_plugins_that_combine_earlier_entries():
    registry = load_registry()
    assert registry.combines("reward", "ensemble") and registry.combines("extend", "mix")
    assert not registry.combines("reward", "tfidf_ridge")
    assert not registry.combines("policy", "dpo")
    with pytest.raises(UnknownName, match="unknown reward plugin 'mix'"):
        registry.combines("reward", "mix")


def test_two_plugins_with_one_name_are_refused_naming_both():
    registry = Registry()
    registry.add(module_with(register_base_models=lambda: [spec()]), probes.origin("first", "one"))
    with pytest.raises(BadInput, match=r"'fine': first \(one 1\.0\) and second \(two 1\.0\)"):
        registry.add(module_with(register_base_models=lambda: [spec()]), probes.origin("second", "two"))


def plain(name, **more):
    return DataFormat(name, (), lambda table: (table, []), **more)


def test_formats_of_a_module_stand_beside_the_built_in_ones():
    registry = Registry()
    registry.add(module_with(register_data_formats=lambda: [plain("mine")]), probes.origin("first", "one"))
    assert registry.broken == []
    assert list(registry.formats.by_name)[-1] == "mine" and "bbq" in registry.formats.by_name
    assert str(registry.formats.origin("mine")) == "first (one 1.0)"
    assert registry.formats.origin("bbq").module == "pipeline_core.data.formats.bbq"


@pytest.mark.parametrize(
    ("name", "owner"), [("mine", r"first \(one 1\.0\)"), ("bbq", r"pipeline_core\.data\.formats\.bbq \(evenhand .*\)")]
)
def test_two_formats_with_one_name_are_refused_naming_both(name, owner):
    registry = Registry()
    registry.add(module_with(register_data_formats=lambda: [plain("mine")]), probes.origin("first", "one"))
    with pytest.raises(BadInput, match=f"two data formats are called '{name}': {owner} and second"):
        registry.add(module_with(register_data_formats=lambda: [plain(name)]), probes.origin("second", "two"))


def leaves():
    raise SystemExit(3)


def raises():
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("hooks", "words"),
    [
        ({"register_base_models": lambda: None}, "is a `return` missing"),
        ({"register_base_models": lambda: ["fine"]}, "expected BaseModelSource"),
        ({"register_base_models": lambda: [PolicyOptimizer(Fine, probes.run_base)]}, "expected BaseModelSource"),
        ({"register_base_models": lambda: [spec(Nameless)]}, "Literal"),
        ({"register_base_models": lambda: [spec(AnyName)]}, "AnyName needs `name: Literal"),
        ({"register_base_models": lambda: [spec(TwoNames)]}, "TwoNames needs `name: Literal"),
        ({"register_base_models": lambda: [spec(Colon)]}, "'a:b' cannot be a plugin's name"),
        ({"register_base_models": lambda: [spec(Undefined)]}, "Nowhere"),
        ({"register_base_models": lambda: [spec(dict)]}, "dict must subclass PluginConfig"),
        (
            {"register_policy_optimizers": lambda: [PolicyOptimizer(Fine, probes.run_policy)]},
            "Fine must subclass PolicyConfig",
        ),
        ({"register_data_formats": lambda: plain("mine")}, "is a `return` missing"),
        ({"register_data_formats": lambda: [spec()]}, "returned a BaseModelSource; expected DataFormat"),
        ({"register_data_formats": lambda: [plain("a b")]}, "'a b' cannot be a data format's name"),
        ({"register_data_formats": lambda: [plain("mine", revision=0)]}, "a revision is a whole number from 1, not 0"),
        ({"register_base_models": leaves}, "SystemExit: 3"),
        ({"register_base_models": raises}, "ZeroDivisionError"),
        ({"register_base_modles": lambda: [spec()]}, "register_base_modles"),
    ],
)
def test_a_faulty_plugin_is_left_out_and_quoted(hooks, words):
    registry = Registry()
    registry.add(module_with(**hooks), probes.origin("faulty"))
    registry.add(module_with(register_base_models=lambda: [spec()]), probes.origin("good"))
    assert [s.name for s in registry.specs()] == ["fine"]
    assert words in str(registry.broken[0])
    with pytest.raises(UnknownName, match="Broken and left out: faulty"):
        registry.get("base", "missing")


def test_a_class_as_entry_point_is_explained():
    registry = Registry()
    registry.add(probes.Probes, probes.origin())
    assert "is a class" in str(registry.broken[0])


def test_the_built_in_plugins_all_load():
    registry = load_registry()
    assert registry.broken == []
    assert {s.stage for s in registry.specs()} == {"base", "extend", "reward", "policy", "evaluate"}


def test_every_setting_of_every_plugin_is_described():
    for s in load_registry().specs():
        missing = [name for name, field in s.config.model_fields.items() if not field.description]
        assert missing in ([], ["name"]), (s.name, missing)
        assert s.config.__doc__, s.name


@pytest.fixture
def broken_by(tmp_path, monkeypatch):
    """`broken_by("name", files)` installs a package of files by name and gives what the registry says of it."""

    def make(name, files):
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / file).write_text(text)
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[evenhand.plugins]\n{name} = {name}\n")
        monkeypatch.syspath_prepend(tmp_path)
        broken = load_registry.__wrapped__().broken
        return [str(plugin) for plugin in broken if plugin.origin.distribution == name]

    return make


def test_a_package_that_ends_the_process_on_import_is_left_out(broken_by):
    told = broken_by("leaving", {"leaving.py": "import sys\nsys.exit('no licence')\n"})
    assert told == ["leaving (leaving 1.0): SystemExit: no licence"]


def test_a_folder_of_a_package_that_fails_on_import_is_told(broken_by):
    fails = "import no_such_library\n"
    files = {"half/__init__.py": "", "half/ours/__init__.py": fails, "half/ours/plugin.py": ""}
    files |= {"half/_private/__init__.py": fails}
    told = broken_by("half", files)
    assert told == ["half.ours (half 1.0): ModuleNotFoundError: No module named 'no_such_library'"]
