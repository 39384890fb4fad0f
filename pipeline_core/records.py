"""The row contract: which columns a table of each kind holds."""
