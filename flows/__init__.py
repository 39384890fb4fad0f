"""Prefect flows and the command line: the only layer that imports prefect."""
