"""Finds the answer in the output of a model: after its reasoning, and before the marker that ends its turn.

Servers that know the template of a model remove both; other servers return them as text. A draft in the reasoning looks
like an answer, and text after the end of a turn belongs to another turn.
"""

from __future__ import annotations

import re

_NAMES = r"(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad)"
_OPENS = re.compile(rf"<{_NAMES}\b[^<>]*>|\[{_NAMES}\]|◁{_NAMES}▷|<\|START_THINKING\|>|<\|channel>", re.IGNORECASE)
_CLOSES = re.compile(rf"</{_NAMES}\s*>|\[/{_NAMES}\]|◁/{_NAMES}▷|<\|END_THINKING\|>|<channel\|>", re.IGNORECASE)
"""`_OPENS`, `_CLOSES`: reasoning markers of DeepSeek, Qwen (`<think>`), Mistral, Seed, Kimi, Command A, Gemma ..."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_MESSAGE = "<|message|>"
"""Start of a message in gpt-oss: `<|channel|>analysis<|message|>...<|end|>`; the answer is on the channel `final`."""
_MARKER = re.compile(
    r"<\|[^\W\d][\w ]*\|>|<[|｜][^|｜<>]{1,40}[|｜]>|</?s>|<(?:start|end)_of_turn>|<turn\|>|<\|turn>"
    r"|<(?:eos|bos|pad|eot)>|\[/?INST\]|<</?SYS>>"
)
"""End or beginning of a turn in ChatML, Llama, Mistral, Gemma, Phi, Command R, DeepSeek and related templates."""
_BEGINNING = re.compile(rf"\s*(?:(?:{_MARKER.pattern})\s*(?:(?:assistant|model|chatbot)\b\s*:?)?\s*)+", re.IGNORECASE)


def answer_of(reply: str) -> str | None:
    """Answer in a reply; None if its reasoning begins and does not end."""
    if (final := _final_channel(reply)) is None:
        return None
    # an opening is not needed: the template may have written it at the end of the question
    answer = final[max((match.end() for match in _CLOSES.finditer(final)), default=0) :]
    if _OPENS.search(answer):  # it thinks again, and was cut
        return None
    if beginning := _BEGINNING.match(answer):
        answer = answer[beginning.end() :]
    ends = _MARKER.search(answer)
    return answer[: ends.start()] if ends else answer


def _final_channel(reply: str) -> str | None:
    """Message on the channel `final`; the whole reply if it has no channels; None if another channel is the last."""
    channels = list(_CHANNEL.finditer(reply))
    if not channels:
        return reply
    last = channels[-1]
    begins = reply.find(_MESSAGE, last.end())
    return reply[begins + len(_MESSAGE) :] if last.group(1).lower() == "final" and begins >= 0 else None
