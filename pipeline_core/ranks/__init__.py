"""Processes of a stage's worker: their signs of life, where they stand, their ends and errors."""
