"""Figures: the numbers that are handed to the drawing."""

import numpy as np
import pytest

from pipeline_core.stats.paired import SeedMean
from pipeline_core.studies.log_linear import figures as log_linear_figures
from pipeline_core.studies.log_linear.figures import draw_all, figure_names
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.stochastic import StochasticRun
from pipeline_core.studies.log_linear.study import compute
from pipeline_core.studies.log_linear.synthetic import FEATURES

SETTINGS = StudySettings(
    features=("same",), scenarios=("even-imbalanced", "uneven-balanced"), methods=("is_dpo", "gr_dpo"),
    chi=(0.0, 0.5, 1.0), seeds=3, iterations=4,
)  # fmt: skip
GAPS = StochasticRun(
    "same", "uneven-balanced", "gr_dpo", 3, 5.0, 1.0, 2.0, 0.4, [100, 200], [SeedMean(0.5, 0.1), SeedMean(0.3, 0.05)],
    [4.0, 3.0], None, None,
)  # fmt: skip


@pytest.fixture(scope="module")
def study():
    return compute(SETTINGS)


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    """Panels of every figure by the file's name, drawn and written."""
    from matplotlib.figure import Figure

    panels, out = {}, tmp_path_factory.mktemp("figures")

    class Watched(Figure):
        def subplots(self, *args, **kwargs):
            self.panels = super().subplots(*args, **kwargs)
            return self.panels

        def savefig(self, path, **kwargs):
            panels[path.name.split(".")[1]] = self.panels
            return super().savefig(path, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure", Watched)
        paths = draw_all(SETTINGS, study.trained, study.rows, [GAPS], out)
    assert [path.name for path in paths] == ["same-dpo.png", "same-chi.png", "same-algorithm-1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    return panels


def points(line):
    return np.asarray(line.get_xdata(), dtype=float).tolist(), np.asarray(line.get_ydata(), dtype=float).tolist()


def test_curves_are_means_over_seeds_in_a_band_of_one_standard_error(study, drawn):
    (trained,) = study.trained
    for s, panel in enumerate(drawn["same-dpo"][0]):
        assert panel.get_title() == SETTINGS.scenarios[s]
        for c, column in enumerate(SETTINGS.columns):
            values_IK = trained.worst_loss[:, 0, s, :, c]
            line, band = panel.lines[c], panel.collections[c]
            assert line.get_label() == column.label
            assert points(line) == ([0, 1, 2, 3, 4], pytest.approx(values_IK.mean(1).tolist()))
            se = values_IK[4].std(ddof=1) / 3**0.5
            edges = [y for x, y in band.get_paths()[0].vertices if x == 4]
            assert (min(edges), max(edges)) == pytest.approx((values_IK[4].mean() - se, values_IK[4].mean() + se))


def test_bars_are_the_rows_with_their_errors(study, drawn):
    for s, panel in enumerate(drawn["same-dpo"][1]):
        rows = [row for row in study.rows if row.scenario == SETTINGS.scenarios[s]]
        means = [row.max_reward_error_relative.mean for row in rows]
        assert [bar.get_height() for bar in panel.patches] == means
        assert spreads(panel.collections[0]) == pytest.approx([2 * row.max_reward_error_relative.se for row in rows])
        assert len({bar.get_facecolor() for bar in panel.patches}) == len(rows), "a colour each"


def spreads(bars):
    return [float(segment[1][1] - segment[0][1]) for segment in bars.get_segments()]


def test_the_trade_off_runs_over_chi(study, drawn):
    for s, scenario in enumerate(SETTINGS.scenarios):
        rows = [row for row in study.rows if (row.scenario, row.method) == (scenario, "gr_dpo")]
        for panel, measure in zip(drawn["same-chi"][:, s], ("max_validation_loss", "max_reward_error_relative"),
                                  strict=True):  # fmt: skip
            assert points(panel.lines[0]) == ([0.0, 0.5, 1.0], [getattr(row, measure).mean for row in rows])


def test_gap_and_bound_are_as_they_were_found(drawn):
    ((panel,),) = drawn["same-algorithm-1"]
    assert points(panel.lines[0]) == ([100, 200], [0.5, 0.3])
    assert [points(line) for line in panel.lines if line.get_linestyle() == "--"] == [([100, 200], [4.0, 3.0])]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["bound, slope -0.5", "gap"]


def test_all_names_are_known(drawn):
    assert set(figure_names()) >= {f"{name}.png" for name in drawn}
    assert len(figure_names()) == len(set(figure_names())) == 4 * len(FEATURES)
    assert log_linear_figures.FIGURES == "figures"
