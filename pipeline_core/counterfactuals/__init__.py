"""Counterfactual rows: identity terms, swapping them, and finding near-duplicates."""
