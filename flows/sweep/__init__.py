"""Sweeps: a grid of pipeline runs that share stages through the store."""
