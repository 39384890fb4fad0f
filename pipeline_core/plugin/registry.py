"""The registry of plugins: finds and lists them, and rejects faulty ones."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import pluggy

from pipeline_core.data.formats.format import DataFormat
from pipeline_core.data.formats.known import HOOK, Formats
from pipeline_core.errors import UnknownName
from pipeline_core.packages.announced import (
    DISTRIBUTION,
    FAULTS,
    PROJECT,
    BrokenPlugin,
    PluginOrigin,
    announced,
    clash,
    listed,
    note_of,
)
from pipeline_core.plugin import hooks as hookspecs
from pipeline_core.plugin.specs import NAME, STAGES, DataExtender, PluginConfig, PolicyConfig, RewardModel, Spec

__all__ = ["DISTRIBUTION", "BrokenPlugin", "PluginOrigin", "Registry", "load_registry"]


class Registry:
    """All usable plugins by stage and name."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._specs: dict[tuple[str, str], Spec] = {}
        self._origins: dict[tuple[str, str], PluginOrigin] = {}
        self.formats = Formats()
        self.broken: list[BrokenPlugin] = []

    def specs(self, stage: str | None = None) -> list[Spec]:
        """Specs of one stage, or of all, sorted by stage, then by name."""
        order = list(STAGES)
        keys = sorted(self._specs, key=lambda key: (order.index(key[0]), key[1]))
        return [self._specs[key] for key in keys if stage in (None, key[0])]

    def get(self, stage: str, name: str, where: str = "") -> Spec:
        """The spec called `name`.

        Raises:
            UnknownName: with the closest known names and a note on broken plugins.
        """
        try:
            return self._specs[stage, name]
        except KeyError:
            raise UnknownName(
                f"{stage} plugin", name, (s.name for s in self.specs(stage)), where, self.note()
            ) from None

    def combines(self, stage: str, name: str) -> bool:
        """True if a plugin combines the results of several earlier entries."""
        spec = self.get(stage, name)
        return isinstance(spec, DataExtender | RewardModel) and spec.combines

    def origin(self, spec: Spec) -> PluginOrigin:
        """Origin of `spec`: its distribution and module."""
        return self._origins[spec.stage, spec.name]

    def note(self) -> str:
        """A sentence about broken plugins; empty if there are none."""
        return note_of(self.broken)

    def add(self, module: Any, origin: PluginOrigin) -> None:
        """Add the plugins that a module (or object) registers. A faulty module is only recorded in `broken`.

        Raises:
            BadInput: when two plugins of one stage, or two data formats, share a name.
        """
        try:
            if inspect.isclass(module):
                raise TypeError(f"{module.__name__} is a class; point the entry point at a module or an instance")
            self._manager.register(module, name=f"{origin.distribution}:{origin.module}")
            self._manager.check_pending()  # refuses hooks that no specification names, such as misspelt ones
            specs = list(self._registered_by(module))  # all or none: a module with one faulty plugin adds nothing
            formats = [format_ for call in self._calls(HOOK, module) for format_ in listed(call(), DataFormat, HOOK)]
        except FAULTS as error:
            if self._manager.is_registered(module):  # else `check_pending` refuses every later module too
                self._manager.unregister(module)
            self.broken.append(BrokenPlugin.by(error, origin))
            return
        for spec in specs:
            self._accept(spec, origin)
        for format_ in formats:
            self.formats.add(format_, origin)

    def _registered_by(self, module: Any) -> Iterator[Spec]:
        for stage, hook in hookspecs.HOOK_OF_STAGE.items():
            for call in self._calls(hook, module):
                for spec in listed(call(), STAGES[stage], hook):
                    _check_config(spec.config, PolicyConfig if stage == "policy" else PluginConfig)
                    yield spec

    def _calls(self, hook: str, module: Any) -> list[Callable[[], Any]]:
        # Not `hook()`: it calls all modules at once, and the first error would hide which one is at fault.
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [implementation.function for implementation in implementations if implementation.plugin is module]

    def _accept(self, spec: Spec, origin: PluginOrigin) -> None:
        key = spec.stage, spec.name
        if key in self._specs:
            raise clash(f"{spec.stage} plugins", spec.name, self._origins[key], origin)
        self._specs[key] = spec
        self._origins[key] = origin


def _check_config(config: Any, parent: type[PluginConfig]) -> None:
    """Reject a configuration that would break the union of all plugins' configurations, and so every pipeline."""
    name = getattr(config, "__name__", str(config))
    if not inspect.isclass(config) or not issubclass(config, parent):
        raise TypeError(f"the configuration {name} must subclass {parent.__name__}")
    config.model_rebuild()  # raises for annotations that cannot be resolved
    field = config.model_fields["name"]
    if get_origin(field.annotation) is not Literal or get_args(field.annotation) != (field.default,):
        raise TypeError(f'the configuration {name} needs `name: Literal["..."] = "..."`, with one name, twice the same')
    if not re.fullmatch(NAME, str(field.default)):
        raise ValueError(f"{field.default!r} cannot be a plugin's name: use letters, digits, `_`, `.` and `-`")


@functools.cache
def load_registry() -> Registry:
    """Built-in plugins and those of installed packages, loaded once per process."""
    registry = Registry()
    modules, registry.broken = announced()
    for module, origin in modules:
        registry.add(module, origin)
    return registry
