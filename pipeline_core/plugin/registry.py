"""Finds plugins, lists them, explains them and refuses what cannot work."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import pluggy

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin import hooks as hookspecs
from pipeline_core.plugin.specs import NAME, STAGES, DataExtender, PluginConfig, PolicyConfig, RewardModel, Spec

DISTRIBUTION = "evenhand"
FAULTS = (Exception, SystemExit)
"""What a plugin may raise when it is imported or asked: a script that ends the process must not end ours."""


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from."""

    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.module} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Broken:
    """A plugin module that could not be used, and why."""

    origin: Origin
    error: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.error}"


class Registry:
    """All usable plugins by stage and name."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._specs: dict[tuple[str, str], Spec] = {}
        self._origins: dict[tuple[str, str], Origin] = {}
        self.broken: list[Broken] = []

    def specs(self, stage: str | None = None) -> list[Spec]:
        """Specs in the order of stages, then names."""
        order = list(STAGES)
        keys = sorted(self._specs, key=lambda key: (order.index(key[0]), key[1]))
        return [self._specs[key] for key in keys if stage in (None, key[0])]

    def get(self, stage: str, name: str, where: str = "") -> Spec:
        """The spec called `name`.

        Raises:
            UnknownName: naming the nearest known plugins and quoting the broken ones.
        """
        try:
            return self._specs[stage, name]
        except KeyError:
            raise UnknownName(
                f"{stage} plugin", name, (s.name for s in self.specs(stage)), where, self.note()
            ) from None

    def combines(self, stage: str, name: str) -> bool:
        """Whether a plugin takes what several entries before it have made."""
        spec = self.get(stage, name)
        return isinstance(spec, DataExtender | RewardModel) and spec.combines

    def origin(self, spec: Spec) -> Origin:
        """Where `spec` comes from."""
        return self._origins[spec.stage, spec.name]

    def note(self) -> str:
        """A sentence about broken plugins, empty when there are none."""
        return f"Broken and left out: {'; '.join(map(str, self.broken))}." if self.broken else ""

    def add(self, module: Any, origin: Origin) -> None:
        """Take the plugins a module (or object) registers; a faulty one is kept in `broken` and left out.

        Raises:
            BadInput: when two plugins of one stage share a name.
        """
        try:
            if inspect.isclass(module):
                raise TypeError(f"{module.__name__} is a class; point the entry point at a module or an instance")
            self._manager.register(module, name=f"{origin.distribution}:{origin.module}")
            self._manager.check_pending()
            specs = list(self._registered_by(module))
        except FAULTS as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            self.mark_broken(origin, error)
            return
        for spec in specs:
            self._accept(spec, origin)

    def mark_broken(self, origin: Origin, error: BaseException) -> None:
        """Remember why a plugin is left out."""
        self.broken.append(Broken(origin, f"{type(error).__name__}: {error}", traceback.format_exc()))

    def _registered_by(self, module: Any) -> Iterator[Spec]:
        for stage, hook in hookspecs.HOOK_OF_STAGE.items():
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                if implementation.plugin is module:
                    yield from _checked(implementation.function(), stage, hook)

    def _accept(self, spec: Spec, origin: Origin) -> None:
        key = spec.stage, spec.name
        if key in self._specs:
            other = self._origins[key]
            raise BadInput(
                f"two {spec.stage} plugins are called {spec.name!r}: {other} and {origin}; rename or uninstall one"
            )
        self._specs[key] = spec
        self._origins[key] = origin


def _checked(specs: Any, stage: str, hook: str) -> Iterable[Spec]:
    if not isinstance(specs, Iterable):
        raise TypeError(
            f"{hook} returned {type(specs).__name__}, not a list of {STAGES[stage].__name__}; is a `return` missing?"
        )
    for spec in specs:
        if not isinstance(spec, STAGES[stage]):
            raise TypeError(f"{hook} returned a {type(spec).__name__}; expected {STAGES[stage].__name__}")
        _check_config(spec.config, PolicyConfig if stage == "policy" else PluginConfig)
        yield spec


def _check_config(config: Any, parent: type[PluginConfig]) -> None:
    """What a configuration must be to stand in a union with all others: one faulty one would break every pipeline."""
    name = getattr(config, "__name__", str(config))
    if not inspect.isclass(config) or not issubclass(config, parent):
        raise TypeError(f"the configuration {name} must subclass {parent.__name__}")
    config.model_rebuild()  # complains about annotations that mean nothing
    field = config.model_fields["name"]
    if get_origin(field.annotation) is not Literal or get_args(field.annotation) != (field.default,):
        raise TypeError(f'the configuration {name} needs `name: Literal["..."] = "..."`, with one name, twice the same')
    if not re.fullmatch(NAME, str(field.default)):
        raise ValueError(f"{field.default!r} cannot be a plugin's name: use letters, digits, `_`, `.` and `-`")


def plugin_modules(entry: importlib.metadata.EntryPoint) -> Iterator[str]:
    """Names of the modules that an entry point stands for: all of a package but its private ones, or the one it names.

    Raises:
        Whatever importing it raises.
    """
    package = importlib.import_module(entry.module)
    has_hooks = any(hasattr(package, hook) for hook in hookspecs.HOOK_OF_STAGE.values())
    if entry.attr or has_hooks or not hasattr(package, "__path__"):
        yield entry.value
        return
    for info in pkgutil.walk_packages(package.__path__, f"{entry.module}."):
        if not info.ispkg and not info.name.rpartition(".")[2].startswith("_"):
            yield info.name


def plugin_entries() -> list[importlib.metadata.EntryPoint]:
    """The entry points of plugins, Evenhand's own first.

    Raises:
        BadInput: Evenhand is installed without them, as before they were announced.
    """
    found = importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP)
    entries = sorted(found, key=lambda entry: _distribution(entry) != DISTRIBUTION)
    if not entries or _distribution(entries[0]) != DISTRIBUTION:
        raise BadInput("Evenhand's own plugins are not announced: install it again, e.g. with `pip install -e .`")
    return entries


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _add(registry: Registry, entry: importlib.metadata.EntryPoint) -> None:
    def origin(name: str) -> Origin:
        return Origin(name, _distribution(entry), entry.dist.version if entry.dist else "unknown")

    try:
        names = list(plugin_modules(entry))
    except FAULTS as error:
        registry.mark_broken(origin(entry.value), error)
        return
    for name in names:  # one `try` each: pluggy's own loader stops at the first that fails
        try:
            module = importlib.metadata.EntryPoint(entry.name, name, entry.group).load()
        except FAULTS as error:
            registry.mark_broken(origin(name), error)
        else:
            registry.add(module, origin(name))


@functools.cache
def load_registry() -> Registry:
    """The built-in plugins and those of installed packages, found once per process."""
    registry = Registry()
    for entry in plugin_entries():
        _add(registry, entry)
    return registry
