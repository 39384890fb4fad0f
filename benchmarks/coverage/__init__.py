"""Coverage of intervals and levels of tests in worlds whose truth is known; see `__main__`."""
