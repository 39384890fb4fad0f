"""Samples: shares of the strata, order, nesting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.samples import largest_remainder, sample_rows
from pipeline_core.errors import BadInput, UnknownName

strata = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(
    lambda values: np.unique(values, return_inverse=True)[1]
)


def test_largest_remainder_by_hand():
    # 10 seats over 53, 24, 23 of 100: quotas 5.3, 2.4, 2.3; the rest seat goes to the remainder .4
    assert largest_remainder([53, 24, 23], 10).tolist() == [5, 3, 2]


@given(strata, st.integers(1, 200), st.integers(0, 3))
def test_shares_stay_within_one_row_of_the_quota(numbers, rows, seed):
    rows = min(rows, len(numbers))
    chosen = sample_rows(numbers, rows, None, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == rows
    sizes, taken = Counter(numbers.tolist()), Counter(numbers[chosen].tolist())
    assert all(abs(taken[stratum] - sizes[stratum] * rows / len(numbers)) < 1 for stratum in sizes)


@given(strata, st.integers(1, 30), st.integers(0, 3))
def test_every_stratum_gives_the_same_number_as_far_as_it_can(numbers, per_stratum, seed):
    taken = Counter(numbers[sample_rows(numbers, None, per_stratum, seed)].tolist())
    assert taken == {stratum: min(size, per_stratum) for stratum, size in Counter(numbers.tolist()).items()}


@given(strata, st.integers(1, 30))
def test_a_larger_sample_per_stratum_holds_the_smaller_one(numbers, per_stratum):
    small = sample_rows(numbers, None, per_stratum, 0)
    assert set(small) <= set(sample_rows(numbers, None, per_stratum + 1, 0))


def test_a_catalog_sample_is_fixed_and_depends_on_its_seed():
    catalog = Catalog.from_environment()
    ref = DataRef(entry="sandbox_pairs", rows=100, stratify=("domain",))
    ids = catalog.load(ref)["id"][:]
    assert catalog.load(ref)["id"][:] == ids
    everything = catalog.load(DataRef(entry="sandbox_pairs"))["id"][:]
    assert [id_ for id_ in everything if id_ in set(ids)] == ids
    assert catalog.load(ref.model_copy(update={"seed": 1}))["id"][:] != ids


def test_a_sample_larger_than_the_data_or_by_an_unknown_column_is_refused():
    catalog = Catalog.from_environment()
    with pytest.raises(BadInput, match="a sample of 1000000 rows was asked for and there are"):
        catalog.load(DataRef(entry="sandbox_pairs", rows=1_000_000))
    with pytest.raises(UnknownName, match=r"sandbox_pairs.stratify: unknown column 'domian'. Did you mean 'domain'"):
        catalog.load(DataRef(entry="sandbox_pairs", rows=5, stratify=("domian",)))
