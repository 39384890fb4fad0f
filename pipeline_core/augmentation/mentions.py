"""Finds the groups of people that a text names, by the words of `data_catalog/identity_terms.yaml`."""

from __future__ import annotations

from collections import Counter

from pipeline_core.augmentation.terms import load_vocabulary

SLOTS = frozenset({"before_person", "adjective", "person", "people", "faith"})
"""Slots whose words name people; pronouns and places do not tell whom a text is about."""


def groups_named(text: str) -> tuple[str, list[str]]:
    """Domain with the most words in a text (the first on a tie), and its groups in order of mention.

    Returns an empty domain and no groups if the text names no group.
    """
    vocabulary = load_vocabulary("identity_terms")
    terms = [
        term
        for match in vocabulary.pattern.finditer(text)
        for term in vocabulary.terms.get(match.group().lower(), ())
        if term.slot in SLOTS
    ]
    if not terms:
        return "", []
    counts = Counter(term.domain for term in terms)
    domain = max(vocabulary.domains, key=lambda name: counts[name])
    return domain, list(dict.fromkeys(term.group for term in terms if term.domain == domain))
