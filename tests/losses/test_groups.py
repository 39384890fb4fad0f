"""Group weightings: worked numbers, a naive loop in plain Python, and what must hold for any losses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.losses.group_statistics import divided, group_losses, group_sums
from pipeline_core.losses.groups import exponentiated_gradient, importance, slowed, state_on, uniform

FORMS = ("mixed", "mean", "population")


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_state_moves_as_a_whole():
    moved = state_on({"weights": torch.ones(3), "steps": torch.zeros(())}, torch.device("meta"))
    assert {value.device.type for value in moved.values()} == {"meta"}
    assert moved.keys() == {"weights", "steps"}


def test_uniform_counts_every_row_once_and_a_group_by_its_size():
    weighting = uniform()
    state = weighting.step(t(5, 0), t(3, 0), weighting.init(t(60, 240), None))
    assert weighting.shares(state).tolist() == [0.2, 0.8]
    assert weighting.row_weights(t(3, 5), state).tolist() == pytest.approx([1, 1], abs=1e-15)


def test_uniform_weights_of_several_trainings_at_once():
    weighting = uniform()
    state = weighting.init(torch.stack([t(60, 240), t(5, 5)]), None)
    assert weighting.shares(state).tolist() == [[0.2, 0.8], [0.5, 0.5]]
    assert not weighting.needs_groups, "rows may have no group"


def test_equal_weights_of_domains_and_of_groups_within_them():
    weighting = importance()
    state = weighting.init(t(60, 240, 10), torch.tensor([0, 0, 1]))
    assert weighting.shares(state).tolist() == [0.25, 0.25, 0.5]


def test_two_levels_of_several_trainings_at_once_are_those_of_each():
    weighting, domains = exponentiated_gradient(0.7, form="mean"), torch.tensor([0, 0, 1])
    sizes, losses, counts = (
        torch.stack(rows) for rows in ((t(5, 9, 2), t(1, 1, 8)), (t(3, 1, 2), t(1, 4, 9)), (t(2, 1, 1), t(1, 1, 3)))
    )
    together = weighting.shares(weighting.step(losses, counts, weighting.init(sizes, domains)))
    for number in range(2):
        alone = weighting.step(losses[number], counts[number], weighting.init(sizes[number], domains))
        assert together[number].tolist() == pytest.approx(weighting.shares(alone).tolist())


@pytest.mark.parametrize("name", ["chi", "domain_chi"])
def test_a_trade_off_outside_its_range_is_named(name):
    with pytest.raises(ValueError, match=rf"^{name} must lie in \[0, 1\], not be 1.5"):
        exponentiated_gradient(1.0, **{name: 1.5})


@pytest.mark.parametrize("form", FORMS)
def test_importance_of_the_whole_data_is_the_same_in_all_forms(form):
    """60 and 240 rows: each group counts one half, so a row counts 300 / (2 * 60) and 300 / (2 * 240) times."""
    weighting = importance(form)
    state = weighting.init(t(60, 240), None)
    assert weighting.shares(state).tolist() == [0.5, 0.5]
    assert weighting.row_weights(t(60, 240), state).tolist() == pytest.approx([2.5, 0.625])


def test_row_weights_of_a_batch_differ_between_the_forms():
    """A batch of 4 rows, 1 and 3 of groups with 60 and 240 rows."""
    counts, sizes = t(1, 3), t(60, 240)
    expected = {"mean": [4 / 2, 4 / 6], "population": [2.5, 0.625], "mixed": [2.5, 0.625]}
    for form, weights in expected.items():
        weighting = importance(form)
        assert weighting.row_weights(counts, weighting.init(sizes, None)).tolist() == pytest.approx(weights)


def test_a_step_by_hand():
    """Mean losses 1 and 3, step size ln 2: the weights 1/2, 1/2 become 2 : 8, so 1/5, 4/5."""
    weighting = exponentiated_gradient(math.log(2), form="mean")
    state = weighting.step(t(2, 3), t(2, 1), weighting.init(t(60, 240), None))
    assert weighting.shares(state).tolist() == pytest.approx([0.2, 0.8])
    assert weighting.row_weights(t(2, 1), state).tolist() == pytest.approx([0.2 * 3 / 2, 0.8 * 3])


def test_a_step_of_algorithm_1_by_hand():
    """One pair of the small group, loss 0.1, N / N_g = 5: its log-weight rises by 4 * 5 * 0.1 = 2."""
    weighting = exponentiated_gradient(4.0, form="population")
    state = weighting.step(t(0.1, 0), t(1, 0), weighting.init(t(60, 240), None))
    small = math.exp(2) / (math.exp(2) + 1)
    assert weighting.shares(state).tolist() == pytest.approx([small, 1 - small])
    assert weighting.row_weights(t(1, 0), state).tolist() == pytest.approx([5 * small, 0])


def test_the_trade_off_by_hand():
    """chi = 0.5, losses 1 and 3, step size 2 ln 2: exponents 0.5 * 2 ln 2 * (1, 3), so alpha = 1/5, 4/5."""
    weighting = exponentiated_gradient(2 * math.log(2), chi=0.5, form="mean")
    state = weighting.step(t(1, 3), t(1, 1), weighting.init(t(1, 1), None))
    assert weighting.shares(state).tolist() == pytest.approx([0.25 + 0.1, 0.25 + 0.4])


@pytest.mark.parametrize("form", FORMS)
def test_without_trade_off_it_is_importance_sampling(form):
    robust, plain = exponentiated_gradient(0.7, chi=0.0, form=form), importance(form)
    state = robust.step(t(9, 1, 4), t(2, 2, 4), robust.init(t(5, 10, 20), None))
    counts = t(1, 2, 3)
    expected = plain.row_weights(counts, plain.init(t(5, 10, 20), None))
    assert torch.allclose(robust.row_weights(counts, state), expected)


@pytest.mark.parametrize("form", ["mixed", "mean"])
def test_an_absent_group_keeps_its_weight_and_the_others_share_the_rest(form):
    weighting = exponentiated_gradient(1.0, form=form)
    state = weighting.step(t(1, 2, 3), t(1, 1, 1), weighting.init(t(1, 1, 1), None))
    before = weighting.shares(state)
    after = weighting.shares(weighting.step(t(0, 5, 1), t(0, 2, 1), state))
    assert after[0] == before[0]
    ratio = before[1] / before[2] * math.exp(2.5 - 1)
    assert after[1].item() / after[2].item() == pytest.approx(ratio.item())
    assert after.sum().item() == pytest.approx(1)
    assert weighting.row_weights(t(0, 2, 1), state)[0] == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_without_any_row_changes_nothing(form):
    weighting = exponentiated_gradient(1.0, form=form, domain_chi=0.5)
    state = weighting.step(t(1, 2, 3), t(1, 1, 1), weighting.init(t(1, 1, 1), torch.tensor([0, 0, 1])))
    after = weighting.step(t(0, 0, 0), t(0, 0, 0), state)
    assert torch.allclose(weighting.shares(after), weighting.shares(state), atol=1e-15)


def test_losses_of_a_thousand_do_not_overflow():
    weighting = exponentiated_gradient(50.0, form="mean")
    state = weighting.init(t(1, 1, 1), None)
    for _ in range(100):
        state = weighting.step(t(1000, 1000, 999), t(1, 1, 1), state)
    assert weighting.shares(state).tolist() == pytest.approx([0.5, 0.5, 0])
    for _ in range(101):  # the weight of 0 is not for ever
        state = weighting.step(t(999, 999, 1000), t(1, 1, 1), state)
    assert weighting.shares(state)[2] > 0.99


def test_a_slowed_ascent_rises_by_half():
    weighting = exponentiated_gradient(2.0, form="mean")
    half = exponentiated_gradient(1.0, form="mean")
    start = weighting.init(t(1, 1), None)
    slow = weighting.step(t(1, 2), t(1, 1), slowed(start, 0.5))
    assert torch.equal(weighting.shares(slow), half.shares(half.step(t(1, 2), t(1, 1), start)))
    fixed = uniform().init(t(1, 1), None)
    assert slowed(fixed, 0.5) is fixed


def test_bad_settings_and_empty_groups_are_refused():
    for bad in ({"step_size": 0}, {"step_size": -1}, {"step_size": 1, "chi": 1.1}, {"step_size": 1, "domain_chi": -1}):
        with pytest.raises(ValueError, match="step size|chi"):
            exponentiated_gradient(**bad)
    for weighting in (uniform(), importance(), exponentiated_gradient(1.0)):
        with pytest.raises(ValueError, match="a group has no rows"):
            weighting.init(t(3, 0), None)


losses = st.floats(0, 100)
batches = st.lists(st.lists(st.tuples(losses, st.integers(0, 5)), min_size=3, max_size=3), min_size=1, max_size=6)


def naive(batches, sizes, domains, step_size, chi, domain_chi, form):
    """The weights after some batches: the docstring's formulas with plain floats, without logarithms kept."""
    groups, members = range(len(sizes)), {d: [g for g, e in enumerate(domains) if e == d] for d in set(domains)}
    inner = [1 / len(members[domains[g]]) for g in groups]
    outer = dict.fromkeys(members, 1 / len(members))

    def raised(weights, rise, seen):
        total = sum(weights[g] for g in seen)
        top = max((rise[g] for g in seen), default=0)
        new = {g: weights[g] * math.exp(rise[g] - top) for g in seen}
        return {**dict(weights), **{g: total * value / sum(new.values()) for g, value in new.items()}}

    def mixed(g):
        return (1 - chi) / len(members[domains[g]]) + chi * inner[g]

    for batch in batches:
        count = [n for _, n in batch]
        total = [loss * n for loss, n in batch]
        if form != "population":
            loss = [s / n if n else 0 for s, n in zip(total, count, strict=True)]
        else:
            loss = [sum(sizes) / size * s for s, size in zip(total, sizes, strict=True)]
        seen = [g for g in groups if count[g] or form == "population"]
        for members_d in members.values():
            here = [g for g in members_d if g in seen]
            new = raised(dict(enumerate(inner)), [step_size * chi * value for value in loss], here)
            inner = [new[g] for g in groups]
        if len(members) > 1:
            domain_loss, present = {}, []
            for d, members_d in members.items():
                here = [g for g in members_d if g in seen]
                mass = sum(mixed(g) for g in here)
                value = sum(mixed(g) * loss[g] for g in here)
                domain_loss[d] = step_size * domain_chi * (value / mass if form != "population" and mass else value)
                present += [d] if here else []
            outer = raised(outer, domain_loss, present)
    between = {d: (1 - domain_chi) / len(members) + domain_chi * outer[d] for d in members}
    return [mixed(g) * between[domains[g]] for g in groups]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("domains", [[0, 0, 0], [0, 1, 1], [0, 1, 2]])
@settings(max_examples=25, deadline=None)
@given(batches=batches, chi=st.sampled_from([0.0, 0.3, 1.0]), domain_chi=st.sampled_from([0.0, 0.6, 1.0]))
def test_weights_equal_a_naive_loop_and_stay_on_the_simplex(form, domains, batches, chi, domain_chi):
    sizes, step_size = [5.0, 10.0, 25.0], 0.002
    weighting = exponentiated_gradient(step_size, chi, form, domain_chi=domain_chi)
    state = weighting.init(t(*sizes), torch.tensor(domains))
    for batch in batches:
        sums, counts = t(*[loss * n for loss, n in batch]), t(*[float(n) for _, n in batch])
        state = weighting.step(sums, counts, state)
        assert weighting.shares(state).sum().item() == pytest.approx(1, abs=1e-12)
        assert (weighting.shares(state) >= 0).all()
    expected = naive(batches, sizes, domains, step_size, chi, domain_chi, form)
    assert weighting.shares(state).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(batches=batches, order=st.permutations(range(3)))
def test_the_order_of_groups_does_not_matter(form, batches, order):
    weighting = exponentiated_gradient(0.02, 0.8, form, domain_chi=0.5)
    sizes, domains = t(5, 10, 25), torch.tensor([0, 1, 1])
    state, other = weighting.init(sizes, domains), weighting.init(sizes[order], domains[order])
    for batch in batches:
        sums, counts = t(*[loss * n for loss, n in batch]), t(*[float(n) for _, n in batch])
        state = weighting.step(sums, counts, state)
        other = weighting.step(sums[order], counts[order], other)
    assert torch.allclose(weighting.shares(state)[order], weighting.shares(other), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_trainings_side_by_side_are_each_alone(form):
    weighting = exponentiated_gradient(0.5, 0.8, form, domain_chi=0.5)
    domains, generator = torch.tensor([0, 1, 1]), torch.Generator().manual_seed(0)
    sizes_WG = torch.randint(1, 9, (4, 3), generator=generator).double()
    state, alone = weighting.init(sizes_WG, domains), [weighting.init(sizes, domains) for sizes in sizes_WG]
    for _ in range(5):
        sums_WG = torch.rand(4, 3, generator=generator, dtype=torch.float64)
        counts_WG = torch.randint(0, 3, (4, 3), generator=generator).double()
        state = weighting.step(sums_WG * counts_WG, counts_WG, state)
        alone = [weighting.step(s * n, n, one) for s, n, one in zip(sums_WG, counts_WG, alone, strict=True)]
    for together, one, counts in zip(weighting.row_weights(counts_WG, state), alone, counts_WG, strict=True):
        assert torch.allclose(together, weighting.row_weights(counts, one), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(loss_N=st.lists(losses, min_size=6, max_size=6), share=st.floats(0.01, 1))
def test_a_population_step_is_right_on_average(loss_N, share):
    """The mean over all batches of one row of N sum / N_g is the mean loss of the group: unbiased."""
    sizes, loss_N = t(2, 4), t(*loss_N)
    member_NG = t(1, 1, 0, 0, 0, 0)[:, None] * t(share, 1 - share) + t(0, 0, 1, 1, 1, 1)[:, None] * t(0, 1)
    sizes = member_NG.sum(0)
    if sizes[1] == 0:
        return
    drawn = torch.stack(
        [group_losses(loss * m, m, sizes, "population") for loss, m in zip(loss_N, member_NG, strict=True)]
    )
    assert torch.allclose(drawn.mean(0), divided(loss_N @ member_NG, sizes), rtol=1e-9)


def test_what_is_not_finite_stays_in_its_own_group():
    shares = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5]], dtype=torch.float64)
    assert group_sums(t(1, 2, 4), shares).tolist() == [3, 4]
    assert group_sums(t(1, math.inf, 4), shares).tolist() == [3, math.inf]
    assert group_sums(t(math.nan, 2, 4), shares)[1] == 4
