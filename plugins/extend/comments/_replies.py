"""Replies to comments: a civil one that does not endorse, and one that endorses or generalises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from pipeline_core.augmentation.people import load_people, read

CommentKind = tuple[str, str]
"""How harsh the comment is, and whether it names a group."""


@dataclass(frozen=True)
class Replies:
    """What `extension/comments.yaml` holds; replies by side and kind of comment."""

    requests: tuple[str, ...]
    harsh_from: float
    texts: Mapping[str, Mapping[CommentKind, tuple[str, ...]]]

    def kind(self, toxicity: float, groups: list[str]) -> CommentKind:
        """The kind of a comment."""
        return "harsh" if toxicity >= self.harsh_from else "mild", "named" if groups else "none"


class PromptReplies(NamedTuple):
    """A prompt with the better and the worse reply."""

    prompt: str
    chosen: str
    rejected: str


@cache
def load_replies() -> Replies:
    """The replies of this installation."""
    document = read("comments.yaml")
    texts = {
        side: {
            (tone, who): tuple(f"{first} {then}" for first, then in product(parts["first"], parts["then"]))
            for tone, kinds in document[side].items()
            for who, parts in kinds.items()
        }
        for side in ("favourable", "unfavourable")
    }
    return Replies(tuple(document["requests"]), document["harsh_from"], texts)


def fill(
    comment: str, domain: str, groups: list[str], request: str, favourable: str, unfavourable: str
) -> PromptReplies:
    """The three templates with the comment, and with the group that it names first."""
    people = load_people()[domain].groups[groups[0]][0].plural if groups else ""
    names = {"people": people, "People": people[:1].upper() + people[1:]}
    # Not `format`: a comment may hold curly brackets.
    return PromptReplies(
        request.replace("{comment}", comment), favourable.format(**names), unfavourable.format(**names)
    )
