"""Templates of a plugin and its test, and what fills them in."""
