"""Several sets of preference rows as one: what is removed, what is taken, and how it is written.

Rows are read and written a piece at a time. What is kept of a row in memory are a few hundred bytes of hashes.
"""
