"""Names of the files that an exported reward holds."""

SCORE = "score.py"
"""Has `score(prompts, completions)`, (N,) numbers with the sign applied; in every exported reward."""
ENCODING = "encoding.py"
"""How prompt and completion become token ids, beside the score of an encoder or a classifier."""
ENCODER_CODE = "modeling_scalar_reward.py"
"""The class of an encoder with its head, whose weights have the sign in them."""
