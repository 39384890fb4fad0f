"""Finds the answer in what a model wrote: behind its reasoning, and before the marker that ends its turn.

Servers that know a model's template take both out; others hand them through as text. A draft in the reasoning looks
like an answer, and text after the end of a turn belongs to another one.
"""

from __future__ import annotations

import re

_NAMES = r"(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad)"
_OPENS = re.compile(rf"<{_NAMES}\b[^<>]*>|\[{_NAMES}\]|◁{_NAMES}▷|<\|START_THINKING\|>|<\|channel>", re.IGNORECASE)
_CLOSES = re.compile(rf"</{_NAMES}\s*>|\[/{_NAMES}\]|◁/{_NAMES}▷|<\|END_THINKING\|>|<channel\|>", re.IGNORECASE)
"""Around the reasoning of DeepSeek, Qwen and others (`<think>`), Mistral (`[THINK]`), Seed, Kimi, Command A, Gemma."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_MESSAGE = "<|message|>"
"""gpt-oss writes `<|channel|>analysis<|message|>...<|end|>`, and the answer on the channel `final`."""
_MARKER = re.compile(
    r"<\|[^\W\d][\w ]*\|>|<[|｜][^|｜<>]{1,40}[|｜]>|</?s>|<(?:start|end)_of_turn>|<turn\|>|<\|turn>"
    r"|<(?:eos|bos|pad|eot)>|\[/?INST\]|<</?SYS>>"
)
"""Ends a turn, or begins another one: ChatML, Llama, Mistral, Gemma, Phi, Command R, DeepSeek and their relatives."""
_BEGINNING = re.compile(rf"\s*(?:(?:{_MARKER.pattern})\s*(?:(?:assistant|model|chatbot)\b\s*:?)?\s*)+", re.IGNORECASE)


def answer_of(reply: str) -> str | None:
    """The answer in a reply; None where its reasoning has begun and never ends."""
    if (final := _final_channel(reply)) is None:
        return None
    answer = final[max((one.end() for one in _CLOSES.finditer(final)), default=0) :]
    if _OPENS.search(answer):
        return None
    if beginning := _BEGINNING.match(answer):
        answer = answer[beginning.end() :]
    ends = _MARKER.search(answer)
    return answer[: ends.start()] if ends else answer


def _final_channel(reply: str) -> str | None:
    """The message on the channel `final`; the whole reply where it names no channel, None where another is the last."""
    channels = list(_CHANNEL.finditer(reply))
    if not channels:
        return reply
    last = channels[-1]
    begins = reply.find(_MESSAGE, last.end())
    return reply[begins + len(_MESSAGE) :] if last.group(1).lower() == "final" and begins >= 0 else None
