"""Report over the points of a sweep: the Pareto front of bias against capability, and a table of all settings."""
