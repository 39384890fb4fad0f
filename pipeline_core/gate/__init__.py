"""What a model must keep to before it is registered: the settings, names of figures, and what is known before a run."""
