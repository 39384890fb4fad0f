"""Quality of a set of preference rows: diversity, length balance, coverage, duplicates and contamination."""
