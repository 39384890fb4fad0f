"""Names of additional terms of a loss."""

import pytest

from pipeline_core.losses.terms import Term, checked


def term(name):
    return Term(name, 0.1, lambda pairs: pairs)


def test_terms_keep_their_order():
    terms = [term("nll"), term("entropy_bonus")]
    assert checked(iter(terms), ["loss"]) == tuple(terms)


@pytest.mark.parametrize("names", [["loss"], ["nll", "nll"]])
def test_a_name_that_another_metric_has_is_refused(names):
    with pytest.raises(ValueError, match=f"^a term may not be called '{names[-1]}': another metric has that name"):
        checked([term(name) for name in names], ["loss", "kl"])
