"""Templates of plugins and their tests, and the code that fills them in."""
