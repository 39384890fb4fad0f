"""Near-duplicate texts by MinHash with banding (Broder 1997): linear in the number of texts.

`seen` compares each text with the earlier ones and keeps all shingles in memory. `sketches`, `distinct` and `lookup`
handle any number of texts in little memory and read compared texts again. `contained` finds known texts inside longer
ones, exactly.
"""
