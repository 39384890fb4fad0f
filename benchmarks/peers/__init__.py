"""Workers of benchmarks: one competitor each, driven step by step from outside."""
