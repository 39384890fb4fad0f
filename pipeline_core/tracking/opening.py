"""Opens the tracking that `EVENHAND_TRACKING` names: `NAME` or `NAME:ADDRESS`, NAME being a module of this package."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline_core import tracking
from pipeline_core.errors import UnknownName
from pipeline_core.store.places import Places
from pipeline_core.tracking.protocol import Tracking


def open_tracking(places: Places) -> Tracking:
    """The tracking that `places` names.

    Raises:
        BadInput: the backend is unknown, its address is invalid, or (`TrackingUnavailable`) it cannot start.
    """
    backend, address = backend_of(places)
    return backend.at(address, places)


def backend_of(places: Places) -> tuple[type[Tracking], str]:
    """The backend and its address (empty: the default); raises `UnknownName`."""
    name, _, address = places.tracking.partition(":")
    modules = {module.replace("_", "-"): module for _, module, _ in pkgutil.iter_modules(tracking.__path__)}
    backend = _backend(modules[name]) if name in modules else None
    if backend is None:
        known = [spelling for spelling, module in modules.items() if _backend(module)]
        raise UnknownName("tracking", name, known, "EVENHAND_TRACKING")
    return backend, address


def _backend(module: str) -> type[Tracking] | None:
    backend: type[Tracking] | None = getattr(importlib.import_module(f"{tracking.__name__}.{module}"), "Backend", None)
    return backend
