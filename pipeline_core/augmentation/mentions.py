"""Which groups of people a text names, by the words of `data_catalog/identity_terms.yaml`."""

from __future__ import annotations

from collections import Counter

from pipeline_core.augmentation.terms import load_vocabulary

SLOTS = frozenset({"before_person", "adjective", "person", "people", "faith"})
"""Words that name people; pronouns and places do not tell whom a text is about."""


def groups_named(text: str) -> tuple[str, list[str]]:
    """The domain that a text has most words of (the first of equals) and the groups of it, in order of mention.

    An empty domain and no groups where no group is named.
    """
    vocabulary = load_vocabulary("identity_terms")
    found = [
        term
        for match in vocabulary.pattern.finditer(text)
        for term in vocabulary.terms.get(match.group().lower(), ())
        if term.slot in SLOTS
    ]
    if not found:
        return "", []
    counts = Counter(term.domain for term in found)
    domain = max(vocabulary.domains, key=lambda name: counts[name])
    return domain, list(dict.fromkeys(term.group for term in found if term.domain == domain))
