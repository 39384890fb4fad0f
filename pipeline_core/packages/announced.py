"""Modules that installed packages announce by entry points, and those among them that cannot be used."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline_core.errors import BadInput

PROJECT = "evenhand"
DISTRIBUTION = "evenhand"
ENTRY_POINT_GROUP = "evenhand.plugins"
FAULTS = (Exception, SystemExit)
"""What a plugin may raise when it is imported or asked: a script that ends the process must not end ours."""
T = TypeVar("T")


@dataclass(frozen=True)
class PluginOrigin:
    """Where a plugin comes from."""

    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.module} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin module that could not be used, and why."""

    origin: PluginOrigin
    error: str
    traceback: str

    @classmethod
    def by(cls, error: BaseException, origin: PluginOrigin) -> BrokenPlugin:
        """A module at fault; called while its error is handled."""
        return cls(origin, f"{type(error).__name__}: {error}", traceback.format_exc())

    def __str__(self) -> str:
        return f"{self.origin}: {self.error}"


def note_of(broken: Iterable[BrokenPlugin]) -> str:
    """A sentence about modules that are left out, empty when there are none."""
    told = "; ".join(map(str, broken))
    return f"Broken and left out: {told}." if told else ""


def is_hook(value: Any) -> bool:
    """Whether a member of a module is marked as the implementation of a hook."""
    return inspect.isroutine(value) and hasattr(value, f"{PROJECT}_impl")


def listed(found: Any, kind: type[T], hook: str) -> list[T]:
    """What a hook returned, as a list of `kind`.

    Raises:
        TypeError: it is no list, or holds something else.
    """
    if not isinstance(found, Iterable):
        told = f"{type(found).__name__}, not a list of {kind.__name__}"
        raise TypeError(f"{hook} returned {told}; is a `return` missing?")
    values = list(found)
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{hook} returned a {type(value).__name__}; expected {kind.__name__}")
    return values


def clash(what: str, name: str, one: PluginOrigin, other: PluginOrigin) -> BadInput:
    """The refusal of two packages that use one name."""
    return BadInput(f"two {what} are called {name!r}: {one} and {other}; rename or uninstall one")


def announced() -> tuple[list[tuple[Any, PluginOrigin]], list[BrokenPlugin]]:
    """The modules of all announced plugins with their origins, Evenhand's own first, and those that fail on import.

    Raises:
        BadInput: see `plugin_entries`.
    """
    modules: list[tuple[Any, PluginOrigin]] = []
    broken: list[BrokenPlugin] = []
    for entry in plugin_entries():
        try:
            names = list(plugin_modules(entry))
        except FAULTS as error:
            broken.append(BrokenPlugin.by(error, _origin(entry, entry.value)))
            continue
        for name in names:  # one `try` each: pluggy's own loader stops at the first that fails
            try:
                module = importlib.metadata.EntryPoint(entry.name, name, entry.group).load()
            except FAULTS as error:
                broken.append(BrokenPlugin.by(error, _origin(entry, name)))
            else:
                modules.append((module, _origin(entry, name)))
    return modules, broken


def plugin_entries() -> list[importlib.metadata.EntryPoint]:
    """The entry points of plugins, Evenhand's own first.

    Raises:
        BadInput: Evenhand is installed without them, as before they were announced.
    """
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    entries = sorted(found, key=lambda entry: _distribution(entry) != DISTRIBUTION)
    if not entries or _distribution(entries[0]) != DISTRIBUTION:
        raise BadInput("Evenhand's own plugins are not announced: install it again, e.g. with `pip install -e .`")
    return entries


def plugin_modules(entry: importlib.metadata.EntryPoint) -> Iterator[str]:
    """Names of the modules that an entry point stands for: all of a package but its private ones, or the one it names.

    Raises:
        Whatever importing it raises.
    """
    package = importlib.import_module(entry.module)
    if entry.attr or not hasattr(package, "__path__") or any(map(is_hook, vars(package).values())):
        yield entry.value
        return
    for info in pkgutil.walk_packages(package.__path__, f"{entry.module}."):
        if not info.ispkg and not info.name.rpartition(".")[2].startswith("_"):
            yield info.name


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _origin(entry: importlib.metadata.EntryPoint, module: str) -> PluginOrigin:
    return PluginOrigin(module, _distribution(entry), entry.dist.version if entry.dist else "unknown")
