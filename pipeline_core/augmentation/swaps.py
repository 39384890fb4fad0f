"""Replaces the words for one group of people in a text by those for another; adapts case and articles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline_core.augmentation.terms import IdentityTerm, Vocabulary

AMBIGUOUS = "ambiguous"  # slot of words with two counterparts: "her" is "his" or "him"
# European, united, user, utopian, Ukrainian, one-armed
_SOUNDS_LIKE_CONSONANT = re.compile(r"(eu|uni|use|usu|ut|uk|one)", re.IGNORECASE)
_SILENT_H = re.compile(r"(honest|hour|heir|honou?r)", re.IGNORECASE)


@dataclass(frozen=True)
class NamedGroup:
    """Domain and group a row is about, by the words it contains."""

    domain: str
    group: str


def people_in(vocabulary: Vocabulary, texts: Sequence[str], domain: str, groups: Iterable[str]) -> NamedGroup | None:
    """Group named by the words of a row; None if no group or several groups are named, or a word is ambiguous.

    Searches the row's own `domain` first, then the others in order; of several groups, takes the one in `groups`.
    """
    terms = [term for text in texts for _, found in vocabulary.matches(text) for term in found]
    ambiguous = [term for term in terms if term.slot == AMBIGUOUS]
    unclear = {term.text for term in ambiguous}
    named = {NamedGroup(term.domain, term.group) for term in terms if term.text not in unclear}
    for name in [domain, *(other for other in vocabulary.domains if other != domain)]:
        here = {people.group for people in named if people.domain == name}
        own = here & set(groups)
        chosen = own if len(own) == 1 else here
        if len(chosen) == 1:
            people = NamedGroup(name, next(iter(chosen)))
            return None if people in {NamedGroup(term.domain, term.group) for term in ambiguous} else people
        if here:  # several groups: a swap of one would leave the other beside it
            return None
    return None


def swap(
    vocabulary: Vocabulary, texts: Sequence[str], source: NamedGroup, target: str, pick: int = 0
) -> tuple[list[str], dict[str, str]] | None:
    """Rewrite `texts` (a prompt and its continuations) about the group `target`; returns texts and replaced words.

    Each word becomes the target's word at the same place of its slot, or `pick` places further if the domain is not
    parallel. None if the target lacks a slot or is already named, or nothing would change.
    """
    domain = vocabulary.domains[source.domain]
    slots = domain.groups[target]
    replaced: dict[str, str] = {}
    shift = 0 if domain.parallel else pick

    def replacement(term: IdentityTerm) -> str | None:
        words = slots.get(term.slot)
        return words[(term.place + shift) % len(words)] if words else None

    swapped = []
    for number, text in enumerate(texts):
        # a completion goes on with the prompt's sentence unless the prompt ends it
        starts = number == 0 or texts[0].rstrip().endswith((".", "!", "?", ":")) or not texts[0]
        new = _swap_text(vocabulary, text, source, target, replacement, replaced, starts)
        if new is None:
            return None
        swapped.append(new)
    return (swapped, replaced) if replaced else None


def _swap_text(
    vocabulary: Vocabulary,
    text: str,
    source: NamedGroup,
    target: str,
    replacement: Callable[[IdentityTerm], str | None],
    replaced: dict[str, str],
    starts_sentence: bool,
) -> str | None:
    pieces: list[str] = []
    end = 0
    for match, terms in vocabulary.matches(text):
        here = [term for term in terms if term.domain == source.domain]
        if any(term.group == target for term in here):  # the two groups could no longer be told apart
            return None
        own = [term for term in here if term.group == source.group and term.slot != AMBIGUOUS]
        if not own:
            continue
        new = replacement(own[0])
        if new is None:
            return None
        before = text[end : match.start()]
        at_start = starts_sentence if not (text[: match.start()].strip()) else _ends_sentence(text[: match.start()])
        pieces += [_with_article(before, new), _in_case_of(match.group(), own[0].text, new, at_start)]
        replaced[own[0].text] = new
        end = match.end()
    return "".join([*pieces, text[end:]])


def _ends_sentence(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?")) and text != text.rstrip()


def _with_article(before: str, word: str) -> str:
    """`before`, its final "a" or "an" (if any) adapted to `word`."""
    match = re.search(r"\b(an?)(\s+)$", before, re.IGNORECASE)
    if not match:
        return before
    article = "an" if needs_an(word) else "a"
    if match.group(1)[0].isupper():
        article = article.capitalize()
    return before[: match.start(1)] + article + match.group(2)


def needs_an(word: str) -> bool:
    """True if `word` takes the article "an"; its first letters approximate its sound."""
    if _SILENT_H.match(word):
        return True
    return word[0].lower() in "aeiou" and not _SOUNDS_LIKE_CONSONANT.match(word)


def _in_case_of(matched: str, listed: str, new: str, at_start: bool) -> str:
    """`new` in capitals, lower case or with a first capital, as `matched` differs from its `listed` form."""
    if matched.isupper() and len(matched) > 1:
        return new.upper()
    if matched.islower() and not listed.islower():
        return new.lower()
    if at_start or (matched[0].isupper() and listed[0].islower()):
        return new[0].upper() + new[1:]
    return new
