"""Where a plugin stands: in a file of its own, or in the `plugin.py` of its folder."""

from pipeline_core.plugin.registry import load_registry


def module_of(stage, name):
    """The dotted name of the module that registers a plugin."""
    registry = load_registry()
    return registry.origin(registry.get(stage, name)).module
