"""Commands of `evenhand`, each in its own module."""
