"""Limits that a model must keep to before it is registered: settings, names of figures, comparison with bounds."""
