"""Near-duplicates found in little memory, against all pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.near_duplicates.distinct import KEPT, resembled
from pipeline_core.near_duplicates.lookup import Lookup
from pipeline_core.near_duplicates.shingles import jaccard, shingles_of
from pipeline_core.near_duplicates.sketches import sketch

SIMILARITY = 0.8
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)
texts = st.lists(words.map(" ".join), min_size=1, max_size=12)


def alike(one, other):
    return jaccard(shingles_of(one), shingles_of(other)) >= SIMILARITY


def by_all_pairs(fields):
    kept, found = [], []
    for number, text in enumerate(fields):
        met = any(alike(text, fields[earlier]) for earlier in kept)
        found.append(met)
        if not met:
            kept.append(number)
    return found


@settings(derandomize=True, deadline=None)
@given(texts)
def test_what_is_kept_is_what_all_pairs_keep(found):
    fields = [(text, text[::-1]) for text in found]
    result = resembled(sketch(fields, len(fields), SIMILARITY), fields.__getitem__, np.arange(len(fields)))
    assert [number != KEPT for number in result] == by_all_pairs(fields)
    for number, other in enumerate(result):
        assert other == KEPT or (result[other] == KEPT and alike(fields[number], fields[other]))


@settings(derandomize=True, deadline=None)
@given(texts, texts)
def test_a_lookup_finds_what_all_pairs_find(known, asked):
    known, asked = [(text,) for text in known], [(text,) for text in asked]
    lookup = Lookup(sketch(known, len(known), SIMILARITY), known.__getitem__)
    found = lookup.alike(asked, sketch(asked, len(asked), SIMILARITY))
    for text, number in zip(asked, found, strict=True):
        assert (number is not None) == any(alike(text, other) for other in known)
        assert number is None or alike(text, known[number])


def test_nothing_is_found_among_nothing():
    empty = Lookup(sketch([], 0, SIMILARITY), [].__getitem__)
    assert empty.alike([("a text",)], sketch([("a text",)], 1, SIMILARITY)) == [None]


def test_a_pair_at_the_threshold_is_rarely_missed():
    """Texts with 196 windows each, of which 175 are shared: a Jaccard similarity of 175 / 217, about 0.806."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        base = "".join(chr(code) for code in rng.integers(97, 123, 200))
        place = int(rng.integers(4, 176))
        other = base[:place] + "0123456789ABCDEFG" + base[place + 17 :]
        assert jaccard(shingles_of([base]), shingles_of([other])) < 0.85
        assert alike([base], [other])
        fields = [(base,), (other,)]
        missed += resembled(sketch(fields, 2, SIMILARITY), fields.__getitem__, [0, 1])[1] == KEPT
    assert missed <= 2


def test_the_order_decides_who_is_kept_and_who_is_left_out_of_it_takes_no_part():
    fields = [("the baker was late again today",), ("the baker was late again today!",), ("something else altogether",)]
    sketches = sketch(fields, 3, SIMILARITY)
    assert resembled(sketches, fields.__getitem__, [0, 1, 2]).tolist() == [KEPT, 0, KEPT]
    assert resembled(sketches, fields.__getitem__, [1, 0, 2]).tolist() == [1, KEPT, KEPT]
    assert resembled(sketches, fields.__getitem__, [1, 2]).tolist() == [KEPT, KEPT, KEPT]
