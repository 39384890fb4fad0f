"""Near-duplicate texts by MinHash with banding (Broder 1997): linear in the number of texts.

`seen` compares one text after another with those before it and keeps their shingles; `sketches`, `distinct` and
`lookup` do it for any number of texts in little memory, and read again what they compare. `contained` finds known texts
inside longer ones, exactly.
"""
