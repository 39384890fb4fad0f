"""The quality of a set of preference rows: how diverse, how balanced, how covered, what is seen elsewhere."""
