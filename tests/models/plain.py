"""Plain forms that the loops' functions are compared with."""

import torch

from pipeline_core.losses.logprobs import full_logps
from pipeline_core.models.collation import positions
from pipeline_core.models.tokens.prompts import encode_pairs


def encode_pair(tokenizer, prompt, completion, max_length, eos=True):
    """Ids of a prompt and of its completion: `encode_pairs` of one."""
    (pair,) = encode_pairs(tokenizer, [prompt], [completion], max_length, eos)
    return list(pair.prompt), list(pair.completion)


def plain_completion_logps(model, batch, temperature=1.0):
    """`completion_logps` without any of its shortcuts: every row with its own prompt, logits of every position."""
    ids = torch.cat([batch.prompt_ids_PT[batch.owner_B], batch.ids_BT[:, :-1]], 1)
    mask = torch.cat([batch.prompt_mask_PT[batch.owner_B], batch.mask_BT[:, :-1]], 1)
    logits = model(input_ids=ids, attention_mask=mask.long(), position_ids=positions(mask)).logits
    logits = logits[:, batch.prompt_ids_PT.shape[1] - 1 :].to(torch.promote_types(logits.dtype, torch.float32))
    logps = (logits.detach() / temperature).log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1)
    return full_logps(logits, batch.ids_BT, temperature) * batch.mask_BT, entropy * batch.mask_BT
