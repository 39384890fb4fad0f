"""Losses and weights of groups over training: averaged, smoothed, chosen, drawn, and written as files."""

import re

import pytest

from pipeline_core.report import write_report
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.render.charts import standalone
from pipeline_core.report.render.curves import POINTS, groups_chart, line_of, seeds_chart
from pipeline_core.report.sections.training import MOST, shown_groups, training_plots
from tests.report.run import FakeRun


def curve(values, name="group/a/loss", seed=0, first=1):
    """A curve of one quantity from step `first` on; None where a batch lacked the group."""
    points = [{"step": step} | ({} if value is None else {name: value}) for step, value in enumerate(values, first)]
    return Curve("gr_dpo", "gr_dpo", seed, points)


def history(groups, steps=40, weights=True, held_out=False):
    """Group k's loss is k + 1 over the step; its weight grows with k."""
    total = sum(range(1, len(groups) + 1))
    for step in range(1, steps + 1):
        point = {"step": step, "loss": 1.0}
        for index, group in enumerate(groups, 1):
            point[f"group/{group}/loss"] = index / step
            point |= {f"group/{group}/weight": index / total} if weights else {}
            point |= {f"validation/group/{group}/loss": index / step} if held_out and step % 10 == 0 else {}
        yield point


def plots_of(groups, seeds=(0,), **more):
    curves = [Curve("gr_dpo", "gr_dpo", seed, list(history(groups, **more))) for seed in seeds]
    trained = training_plots(curves, {"base": "#ff0000"})
    return {plot.title: plot for one in trained for plot in one.plots if plot.file}


def test_a_running_mean_by_hand():
    line = line_of([curve([8.0, 4.0, None, 2.0, 6.0])], "group/a/loss", window=2)
    # windows {8}, {8, 4}, {2} (the batch of step 3 lacked the group), {2, 6}
    assert (line.steps, line.mean) == ([1, 2, 4, 5], [8.0, 6.0, 2.0, 4.0])
    assert line.low == line.high == line.mean


def test_without_a_window_the_values_stay():
    assert line_of([curve([8.0, 4.0, 2.0])], "group/a/loss", window=0).mean == [8.0, 4.0, 2.0]


def test_seeds_are_averaged_where_all_have_begun_and_none_has_ended():
    seeds = [curve([1.0, 2.0, 3.0, 4.0]), curve([6.0, 7.0, 8.0, 9.0], seed=1, first=2)]
    line = line_of(seeds, "group/a/loss", window=0)
    assert (line.steps, line.mean) == ([2, 3, 4], [4.0, 5.0, 6.0])
    assert (line.low, line.high) == ([2.0, 3.0, 4.0], [6.0, 7.0, 8.0])


def test_a_seed_whose_batch_lacks_the_group_keeps_its_last_value():
    seeds = [curve([1.0, 2.0, 3.0]), curve([5.0, None, 7.0], seed=1)]
    assert line_of(seeds, "group/a/loss", window=0).mean == [3.0, 3.5, 5.0]


def test_what_is_not_finite_is_left_out_and_nothing_is_no_line():
    assert line_of([curve([float("nan"), 2.0, float("inf"), 4.0])], "group/a/loss", window=9).mean == [2.0, 3.0]
    assert line_of([curve([float("nan"), None])], "group/a/loss", window=1) is None
    assert line_of([curve([1.0]), curve([2.0], seed=1, first=5)], "group/a/loss", window=1) is None


def test_long_curves_are_thinned_and_keep_their_ends():
    line = line_of([curve([float(step) for step in range(1, 5001)])], "group/a/loss", window=0)
    assert len(line.steps) == POINTS
    assert (line.steps[0], line.steps[-1], line.mean[-1]) == (1, 5000, 5000.0)


def test_a_curve_that_is_not_smoothed_keeps_every_step(monkeypatch):
    """A mean line that is thinned would leave out the peak that its seed's thin line shows."""
    from pipeline_core.report.render import curves

    drawn = []
    monkeypatch.setattr(curves, "_within", lambda line, spread: drawn.append((line, spread)) or line)
    points = [{"step": step, "loss": 1.0 + (step == 77), "spread": 0.5} for step in range(1, 200)]
    svg = seeds_chart([Curve("dpo", "dpo", seed, points) for seed in (0, 1)], "loss", "#ff0000", band="spread")
    ((line, spread),) = drawn
    assert (line.steps, line.mean[76]) == (list(range(1, 200)), 2.0)
    assert spread.steps == line.steps
    assert svg.startswith("<svg")


def test_a_band_is_drawn_around_the_line():
    points = [{"step": step, "loss": 1.0, "spread": 0.5} for step in (1, 2)]
    plain, band = (seeds_chart([Curve("dpo", "dpo", 0, points)], "loss", "#ff0000", name) for name in (None, "spread"))
    assert band.count("<path") > plain.count("<path")


def test_of_many_groups_the_heaviest_lightest_and_worst_are_shown():
    groups = [f"g{index:02d}" for index in range(20)]
    weighed = Curve("gr_dpo", "gr_dpo", 0, list(history(groups)))
    # loss and weight grow together: 17 to 19 are the heaviest, 0 and 1 the lightest, 14 to 16 the next worst
    assert shown_groups([weighed]) == (["g00", "g01", "g14", "g15", "g16", "g17", "g18", "g19"], 20)
    plain = Curve("dpo", "dpo", 0, list(history(groups, weights=False)))
    assert shown_groups([plain]) == (groups[-MOST:], 20)
    few = Curve("dpo", "dpo", 0, list(history(groups[:MOST])))
    assert shown_groups([few]) == (groups[:MOST], MOST)


def test_the_lowest_reward_is_the_worst():
    points = [{"step": 1, **{f"group/g{index}/reward": float(index) for index in range(9)}}]
    assert shown_groups([Curve("grpo", "grpo", 0, points)]) == ([f"g{index}" for index in range(MOST)], 9)


def test_captions_say_what_was_done():
    found = plots_of(["old", "young"], seeds=(0, 1), held_out=True)
    assert list(found) == ["loss by group", "weight of groups", "held-out loss by group"]
    assert found["loss by group"].note == (
        "Running mean over 4 steps. Mean of 2 seeds; the band reaches from the lowest to the highest."
    )
    assert found["weight of groups"].note.endswith("Dashed: equal weights.")
    assert "Running" not in found["held-out loss by group"].note
    assert plots_of(["old", "young"], steps=5)["loss by group"].note == ""
    many = plots_of([f"g{index}" for index in range(12)], weights=False)["loss by group"]
    assert many.note.endswith("8 of 12 groups: those that are worst at the end.")
    chosen = plots_of([f"g{index}" for index in range(12)])["weight of groups"]
    assert "8 of 12 groups: the largest and smallest weights at the end, then the worst." in chosen.note


def test_seeds_of_different_length_are_said_to_be():
    curves = [Curve("gr_dpo", "gr_dpo", seed, list(history(["a", "b"], steps=30 - 10 * seed))) for seed in (0, 1)]
    (trained,) = training_plots(curves, {"base": "#ff0000"})
    assert "Drawn to step 20, where the first seed ended." in trained.plots[-1].note


def test_one_group_or_none_is_not_drawn():
    assert plots_of(["only"]) == {}
    assert plots_of([]) == {}


def test_a_group_chart_reads_its_last_values_out_and_survives_any_name():
    names = ["a/b_c", "$x$ <&>", '"quoted"']
    lines = {name: line_of([curve([1.0, 0.5])], "group/a/loss", window=0) for name in names}
    svg = groups_chart(lines, list(lines), "loss by group", level=0.25)
    assert 'aria-label="loss by group over training steps; at the end: a/b c 0.500, $x$ &lt;&amp;&gt; 0.500' in svg
    assert "&lt;&amp;&gt;" in svg.split(">", 1)[1]
    assert "$x$" in svg.split(">", 1)[1]
    assert not re.search(r' d="[^"]*\.\d{3}', svg)


def test_a_group_has_one_colour_in_every_chart_of_a_training():
    groups = ["a", "b", "c"]
    line = line_of([curve([1.0, 0.5])], "group/a/loss", window=0)
    all_of_them, without_a = (
        groups_chart(dict.fromkeys(shown, line), groups, "loss by group") for shown in (groups, groups[1:])
    )
    assert colours_in(without_a) == colours_in(all_of_them)[1:]


def colours_in(svg):
    """Colours of the lines in their order."""
    return list(dict.fromkeys(re.findall(r"var\(--c\d\)", svg)))


def test_a_file_of_its_own_needs_no_page():
    style = ":root { --soft: #5d6670; --c1: #2f6fd0; } @media (prefers-color-scheme: dark) { :root { --c1: #6ba2f2; } }"
    svg = standalone('<svg role="img"><path stroke="var(--c1)"/><text style="font: 9px var(--sans)"/></svg>', style)
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'stroke="#2f6fd0"' in svg
    assert "var(" not in svg


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    run = FakeRun(tmp_path_factory.mktemp("store"))
    points = [point | {"worst_group/loss": 1.0} for point in history(["old", "young"], held_out=True)]
    for label in ("gr_dpo", "gr/dpo"):
        run.stage("policy", "gr_dpo", label, 0, {"model": run.base.digest}, history=points)
    return write_report(run.results, {"name": "sandbox"}, tmp_path_factory.mktemp("report"))


def test_the_report_holds_the_plots_and_writes_them_as_files(paths):
    page = paths.html.read_text(encoding="utf-8")
    assert page.count("<figcaption>weight of groups</figcaption>") == 2
    assert page.count("<figcaption>worst group of each batch · loss</figcaption>") == 2
    assert "Running mean over 4 steps." in page
    names = [path.relative_to(paths.html.parent).as_posix() for path in paths.figures]
    assert names[:3] == [
        "figures/gr_dpo/loss_by_group.svg",
        "figures/gr_dpo/weight_of_groups.svg",
        "figures/gr_dpo/held-out_loss_by_group.svg",
    ]
    assert len({path.parent for path in paths.figures}) == 2
    assert len(set(paths.figures)) == 6
    assert all(path.read_text(encoding="utf-8").startswith("<svg xmlns=") for path in paths.figures)
    assert all("var(" not in path.read_text(encoding="utf-8") for path in paths.figures)


def test_a_run_without_groups_writes_no_figures(tmp_path):
    paths = write_report(FakeRun(tmp_path / "store").results, {"name": "sandbox"}, tmp_path / "report")
    assert paths.figures == ()
    assert not (tmp_path / "report" / "figures").exists()
