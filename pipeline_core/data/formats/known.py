"""All data formats: built-in ones, and those of installed packages."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from pipeline_core.data.formats import (
    bbq,
    bold,
    dialogues,
    opinions,
    reward_suites,
    scored_halves,
    sentence_sets,
    truthfulqa,
)
from pipeline_core.data.formats.format import DataFormat
from pipeline_core.packages.announced import (
    DISTRIBUTION,
    FAULTS,
    BrokenPlugin,
    PluginOrigin,
    announced,
    clash,
    is_hook,
    listed,
)

HOOK = "register_data_formats"
MODULES = (dialogues, bbq, bold, opinions, reward_suites, truthfulqa, scored_halves, sentence_sets)
BUILT_IN: Mapping[str, DataFormat] = {format_.name: format_ for module in MODULES for format_ in module.FORMATS}


class Formats:
    """Formats by name with their origins: built-in and added ones."""

    def __init__(self) -> None:
        self.by_name = dict(BUILT_IN)
        self._origins: dict[str, PluginOrigin] = {}
        self.broken: list[BrokenPlugin] = []

    def add(self, format_: DataFormat, origin: PluginOrigin) -> None:
        """Add a format.

        Raises:
            BadInput: another format has its name.
        """
        if format_.name in self.by_name:
            raise clash("data formats", format_.name, self.origin(format_.name), origin)
        self.by_name[format_.name] = format_
        self._origins[format_.name] = origin

    def origin(self, name: str) -> PluginOrigin:
        """Module and package of a format."""
        if name in self._origins:
            return self._origins[name]
        module = self.by_name[name].rows.__module__
        return PluginOrigin(module, DISTRIBUTION, importlib.metadata.version(DISTRIBUTION))


@functools.cache
def installed_formats() -> Formats:
    """Built-in formats and those of installed packages, collected once per process; faulty packages go to `broken`.

    Raises:
        BadInput: two formats share a name.
    """
    formats = Formats()
    modules, formats.broken = announced()
    for module, origin in modules:
        try:
            hook: Any = getattr(module, HOOK, None)
            added = listed(hook(), DataFormat, HOOK) if is_hook(hook) else []
        except FAULTS as error:
            formats.broken.append(BrokenPlugin.by(error, origin))
            continue
        for format_ in added:
            formats.add(format_, origin)
    return formats


def format_named(name: str) -> DataFormat | None:
    """Format of a name, or None. Packages are imported only if no built-in format has the name."""
    return BUILT_IN.get(name) or installed_formats().by_name.get(name)


def format_identity(name: str) -> dict[str, Any]:
    """Identity of a format besides its name: revision and package; empty for a built-in format of revision 1."""
    is_built_in = name in BUILT_IN
    revision = (BUILT_IN if is_built_in else installed_formats().by_name)[name].revision
    identity: dict[str, Any] = {} if revision == 1 else {"revision": revision}
    if not is_built_in:  # two packages may use the same name
        identity["distribution"] = installed_formats().origin(name).distribution
    return {"format": identity} if identity else {}
