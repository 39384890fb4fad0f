"""Template replies to comments: civil ones that do not endorse, and ones that endorse or generalise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from pipeline_core.augmentation.people import load_people, read

CommentKind = tuple[str, str]
"""Tone of a comment (`harsh` or `mild`), and `named` if it names a group, else `none`."""


@dataclass(frozen=True)
class Replies:
    """Content of `extension/comments.yaml`; `texts` has replies by side and kind of comment."""

    requests: tuple[str, ...]
    harsh_from: float
    texts: Mapping[str, Mapping[CommentKind, tuple[str, ...]]]

    def kind(self, toxicity: float, groups: list[str]) -> CommentKind:
        """Kind of a comment."""
        return "harsh" if toxicity >= self.harsh_from else "mild", "named" if groups else "none"


@cache
def load_replies() -> Replies:
    """Load the replies of this installation."""
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
) -> dict[str, str]:
    """Texts of a row: the three templates, filled with the comment and the first group that it names."""
    people = load_people()[domain].groups[groups[0]][0].plural if groups else ""
    # `capitalize` would lower the rest: "Poor black people"
    names = {"people": people, "People": people[:1].upper() + people[1:]}
    return {
        "prompt": request.replace("{comment}", comment),  # `format` would fail on a comment with curly brackets
        "chosen": favourable.format(**names),
        "rejected": unfavourable.format(**names),
    }
