"""Near-duplicates found in little memory, against all pairs."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.data.duplicates.contained import ContainmentIndex
from pipeline_core.data.duplicates.distinct import KEPT, resembled
from pipeline_core.data.duplicates.lookup import SimilarityIndex
from pipeline_core.data.duplicates.shingles import jaccard, shingles_of, windows_of
from pipeline_core.data.duplicates.sketches import sketch

SIMILARITY = 0.8
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)
texts = st.lists(words.map(" ".join), min_size=1, max_size=12)


def windows(fields):
    return windows_of([fields])[0]


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
    lookup = SimilarityIndex(sketch(known, len(known), SIMILARITY), known.__getitem__)
    found = lookup.alike(asked, sketch(asked, len(asked), SIMILARITY))
    for text, number in zip(asked, found, strict=True):
        assert (number is not None) == any(alike(text, other) for other in known)
        assert number is None or alike(text, known[number])


def inside(known, text, similarity, fewest=1):
    """Whether a stretch of a text has enough windows of `known`, by trying every stretch."""
    windows, others = (windows_of([fields])[0].tolist() for fields in (known, text))
    longest, different = math.ceil(len(windows) / similarity), set(windows)
    stretches = (others[start : start + longest] for start in range(len(others)))
    most = max(len(different & set(stretch)) for stretch in stretches)
    return len(different) >= fewest and most >= similarity * len(different) - 1e-6


@settings(derandomize=True, deadline=None)
@given(texts, texts, st.sampled_from([0.4, 0.5, 0.8, 0.9, 1.0]), st.sampled_from([1, 20]))
def test_texts_inside_others_are_those_that_a_plain_comparison_finds(known, asked, similarity, fewest):
    known, asked = [(text,) for text in known], [(f"he said: {text} and left",) for text in asked]
    contained = ContainmentIndex(lambda: iter(known), known.__getitem__, similarity, fewest)
    for text in asked:
        found = contained.first_in(windows(text))
        expected = [number for number, other in enumerate(known) if inside(other, text, similarity, fewest)]
        assert found == (expected[0] if expected else None)


def test_a_long_text_is_found_inside_a_longer_one_at_the_threshold_and_not_below():
    """196 windows, of which a replacement of n letters takes n + 4: 157 or more make four fifths."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        base, around = ("".join(chr(code) for code in rng.integers(97, 123, size)) for size in (200, 3000))
        contained = ContainmentIndex(lambda text=base: iter([(text,)]), [(base,)].__getitem__, SIMILARITY, 36)
        for letters, found in ((35, 0), (36, None)):
            place = int(rng.integers(4, 150))
            changed = base[:place] + "#" * letters + base[place + letters :]
            assert contained.first_in(windows((around[:1500] + changed + around[1500:],))) == found


def test_nothing_is_found_among_nothing():
    empty = SimilarityIndex(sketch([], 0, SIMILARITY), [].__getitem__)
    assert empty.alike([("a text",)], sketch([("a text",)], 1, SIMILARITY)) == [None]
    assert ContainmentIndex(lambda: iter([]), [].__getitem__, SIMILARITY, 1).first_in(windows(("a text",))) is None


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
