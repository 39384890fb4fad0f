"""What a model must keep to before it is registered: limits, the figures they speak of, and the verdicts."""
