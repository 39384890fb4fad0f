"""One module for every command of `evenhand`."""
