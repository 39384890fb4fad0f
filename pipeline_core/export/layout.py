"""Names of the files that an exported reward holds."""

SCORE = "score.py"
"""File with `score(prompts, completions)`, which returns (N,) scores, sign applied; in every exported reward."""
ENCODING = "encoding.py"
"""File that turns prompts and completions into token ids; beside `score.py` of an encoder or a classifier."""
ENCODER_CODE = "modeling_scalar_reward.py"
"""File with the class of an encoder and its head; the sign is multiplied into the head's weights."""
