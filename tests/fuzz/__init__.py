"""Hostile input: generated configurations, overrides, catalog entries and data files, each made from one number.

`python -m tests.fuzz --seed 1 --minutes 60` tries as many as it can; the suite tries a fixed few hundred.
"""
