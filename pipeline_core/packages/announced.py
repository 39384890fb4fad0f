"""Modules that installed packages announce by entry points, and broken modules among them."""

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
"""Errors that a plugin may raise on import or in a hook; a script that exits must not end this process."""
T = TypeVar("T")


@dataclass(frozen=True)
class PluginOrigin:
    """Origin of a plugin: its module, and the distribution and version that it comes from."""

    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.module} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class BrokenPlugin:
    """Plugin module that cannot be used, and its error."""

    origin: PluginOrigin
    error: str
    traceback: str

    @classmethod
    def by(cls, error: BaseException, origin: PluginOrigin) -> BrokenPlugin:
        """Record of a module at fault; called while its error is handled."""
        return cls(origin, f"{type(error).__name__}: {error}", traceback.format_exc())

    def __str__(self) -> str:
        return f"{self.origin}: {self.error}"


def note_of(broken: Iterable[BrokenPlugin]) -> str:
    """Sentence about modules that are left out; empty if there are none."""
    told = "; ".join(map(str, broken))
    return f"Broken and left out: {told}." if told else ""


def is_hook(value: Any) -> bool:
    """True if a member of a module is marked as the implementation of a hook."""
    return inspect.isroutine(value) and hasattr(value, f"{PROJECT}_impl")


def listed(found: Any, kind: type[T], hook: str) -> list[T]:
    """Result of a hook as a list of `kind`.

    Raises:
        TypeError: the result is not iterable, or holds something else.
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
    """Refusal of two packages that use one name."""
    return BadInput(f"two {what} are called {name!r}: {one} and {other}; rename or uninstall one")


def announced() -> tuple[list[tuple[Any, PluginOrigin]], list[BrokenPlugin]]:
    """Modules of all announced plugins with their origins, Evenhand's own first, and modules that fail on import.

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
        for name in names:  # one `try` each: pluggy's own loader stops at the first error
            try:
                module = importlib.metadata.EntryPoint(entry.name, name, entry.group).load()  # `module:object` too
            except FAULTS as error:
                broken.append(BrokenPlugin.by(error, _origin(entry, name)))
            else:
                modules.append((module, _origin(entry, name)))
    return modules, broken


def plugin_entries() -> list[importlib.metadata.EntryPoint]:
    """Entry points of plugins, Evenhand's own first.

    Raises:
        BadInput: Evenhand's own are missing, as in an old installation.
    """
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    entries = sorted(points, key=lambda entry: _distribution(entry) != DISTRIBUTION)
    if not entries or _distribution(entries[0]) != DISTRIBUTION:
        raise BadInput("Evenhand's own plugins are not announced: install it again, e.g. with `pip install -e .`")
    return entries


def plugin_modules(entry: importlib.metadata.EntryPoint) -> Iterator[str]:
    """Names of an entry point's modules: all modules of a package but private ones, or the one module it names.

    A folder whose own import fails is named like a module, so that its import tells the error.

    Raises:
        Any error of the import.
    """
    package = importlib.import_module(entry.module)
    if entry.attr or not hasattr(package, "__path__") or any(map(is_hook, vars(package).values())):
        yield entry.value
        return
    broken: list[str] = []
    # Without `onerror` the walk passes over a folder that raises an ImportError, and says nothing.
    for info in pkgutil.walk_packages(package.__path__, f"{entry.module}.", onerror=broken.append):
        if not info.ispkg and _is_public(info.name):
            yield info.name
    yield from filter(_is_public, broken)


def _is_public(module: str) -> bool:
    return not module.rpartition(".")[2].startswith("_")


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _origin(entry: importlib.metadata.EntryPoint, module: str) -> PluginOrigin:
    return PluginOrigin(module, _distribution(entry), entry.dist.version if entry.dist else "unknown")
