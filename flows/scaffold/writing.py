"""Writes the skeleton of a plugin and its test from the templates in this folder."""

from __future__ import annotations

import keyword
from importlib import resources
from pathlib import Path

from pipeline_core.errors import BadInput, UnknownName, quoted
from pipeline_core.files.atomic import user_path
from pipeline_core.plugin.hooks import HOOK_OF_STAGE
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import STAGES


def write_scaffold(name: str, stage: str, into: Path | None = None) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into a folder; returns their paths.

    Default folders: in Evenhand's repository those of its own plugins and tests, else the working folder.

    Raises:
        BadInput: unknown stage, invalid or taken name, or existing file.
    """
    if stage not in STAGES:
        raise UnknownName("stage", stage, STAGES, where="--stage")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name != name.lower():
        raise BadInput(f"{quoted(name)} cannot be a plugin's name: use small letters, digits and `_`, a letter first")
    _check_free(name, stage)
    words = {
        "NAME": name,
        "STAGE": stage,
        "CLASS": "".join(word.capitalize() for word in name.split("_")),
        "SPEC": STAGES[stage].__name__,
        "HOOK": HOOK_OF_STAGE[stage],
    }
    at_home = into is None and in_repository()
    folders = [Path("plugins", stage), Path("tests", "plugins", stage)] if at_home else [user_path(into or ".")] * 2
    words["MODULE"] = f"plugins.{stage}.{name}" if at_home else name
    words["HINT"] = "" if at_home else " Before it is packaged, the file's folder must be importable."
    files = [
        (user_path(folders[0] / f"{name}.py"), f"{stage}.py.tmpl"),
        (user_path(folders[1] / f"test_{name}.py"), "test.py.tmpl"),
    ]
    if present := [path for path, _ in files if path.exists()]:
        raise BadInput(f"{present[0]} exists; it is not overwritten")
    for path, template in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template, words), encoding="utf-8")
    return files[0][0], files[1][0]


def in_repository() -> bool:
    """True if the working folder is the repository from which Evenhand's plugins are imported."""
    import plugins

    return Path(plugins.__file__ or "").parent == Path("plugins").resolve() and Path("tests", "plugins").is_dir()


def _check_free(name: str, stage: str) -> None:
    registry = load_registry()
    if taken := next((spec for spec in registry.specs(stage) if spec.name == name), None):
        raise BadInput(f"there is a {stage} plugin {name!r} already: {registry.origin(taken)}; choose another name")


def _filled(template: str, words: dict[str, str]) -> str:
    text = (resources.files(__package__) / template).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"${word}$", value)
    return text
