"""R2: the card of every kind of artifact, with every kind of measure, is written and reads right."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.conformance.kit import commit_folder, tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import ArtifactChanged
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.export.card import card_of, to_markdown
from pipeline_core.export.figures import CardEvaluation
from pipeline_core.export.folder import export
from pipeline_core.export.lineage import Lineage
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.plugin.registry import load_registry
from pipeline_core.store.artifacts import Manifest, Store
from tests.export.test_export import elsewhere, header_of, usage_of

SCORES = [
    Score(f"item{index}", "right", float(index % 3 == 0), group=("ash", "pine")[index % 2], domain="trees|shrubs")
    for index in range(30)
]
PLAIN = Measure("suite/plain", "right", "share", unit="%")
GROUPED = Measure("suite/grouped", "right", "share", unit="%", group_by="group", summary_rows=("worst_group",))
UNDIRECTED = Measure("suite/undirected", "right", "share", better="neither", group_by="domain")
EMPTY = Measure("suite/empty", "nothing", "share", better="lower", group_by="group")


@pytest.fixture
def tiny(store):
    commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
    return store.find("model", "tiny")


def evaluated(store, of, measures, key="measured", config=None, scores=SCORES):
    """An evaluation of a model in the store, as its stage would leave it."""
    out = store.partial(key)
    out.mkdir(parents=True)
    metrics = write_evaluation(out, scores, measures) | {"suite/items/measured": 30.0}
    facts = {"config": config or {}, "inputs": {"model": of.digest}, "data": {}, "seconds": 0.0, "seed": 0}
    named = {"stage": "evaluate", "plugin": "suite", "label": of.label, "metrics": metrics}
    store.commit("evaluation", key, out, **named, **facts)
    return store.find("evaluation", key)


def taken_out(store, manifest, folder):
    return export(store, manifest, folder, load_registry(), Catalog.from_environment())


def line_of(card, word):
    return next(line for line in card.splitlines() if f" {word}" in line and line.startswith("|"))


def test_r2_a_model_leaves_with_figures_with_and_without_groups(store, tiny, tmp_path):
    evaluated(store, tiny, [PLAIN, GROUPED, UNDIRECTED, EMPTY])
    card = (taken_out(store, tiny, tmp_path / "out") / "README.md").read_text()
    # Of 30 items every third is right: 10 of 30, and 5 of 15 in either group.
    assert line_of(card, "suite · plain").startswith("| suite | suite · plain ↑ | 33.3 [")
    assert line_of(card, "suite · plain").endswith("] % | 30 | – |")
    assert "| 30 | ash: 33.3 [" in line_of(card, "suite · grouped ↑")
    assert line_of(card, "suite · grouped").endswith("] % (n = 15) |")
    assert line_of(card, "suite · undirected").endswith("| 30 | – |")
    assert line_of(card, "suite · empty ↓").endswith("| – | 0 | – |")
    assert "How biased it is was not measured" not in card


def test_r2_a_model_that_was_not_measured_says_so(store, tiny, tmp_path):
    card = (taken_out(store, tiny, tmp_path / "out") / "README.md").read_text()
    assert "None: it was not measured, and the stage noted nothing." in card
    assert "How biased it is was not measured. Do not use it to decide about people." in card


def test_r2_an_evaluation_loads_without_evenhand(store, tiny, tmp_path):
    made = evaluated(store, tiny, [PLAIN, dataclasses.replace(GROUPED, headline=False)])
    folder = taken_out(store, made, tmp_path / "out")
    code = "print(json.dumps([len(rows), rows[0]['item'], measures['suite/plain']['n'], sorted(measures)]))"
    found = elsewhere(f"{usage_of(folder)}\n{code}", tmp_path)
    assert found == [30, "item0", 30, ["suite/grouped", "suite/plain"]]
    card = (folder / "README.md").read_text()
    assert card.splitlines()[card.splitlines().index("# suite of tiny: evaluation") :]
    assert "| test: tiny | test | 0 | `tiny` |" in card
    assert "suite · grouped ↑ | 33.3" in card, "details stand in an evaluation's own card"
    assert "suite/items/measured | 30 |" in card and "suite/plain |" not in card, "a measure is told once"
    assert header_of(folder)["configs"][0]["data_files"] == [{"split": "test", "path": "data/test-*"}]


def test_r2_evaluations_of_one_suite_are_told_by_their_settings(store, tiny, tmp_path):
    evaluated(store, tiny, [PLAIN], "one", {"rows": 30, "seed": 1, "entry": "a|b"})
    evaluated(store, tiny, [PLAIN], "two", {"rows": None, "seed": 1, "entry": "a|b"})
    card = (taken_out(store, tiny, tmp_path / "out") / "README.md").read_text()
    assert "| suite (rows 30) | suite · plain" in card
    assert "| suite (rows null) | suite · plain" in card


def test_r2_a_plugin_that_writes_no_measures_is_told_by_its_metrics(store, tiny, tmp_path):
    out = store.partial("bare")
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("x")
    facts = {"config": {}, "inputs": {"model": tiny.digest}, "data": {}, "seconds": 0.0, "seed": 0}
    store.commit(
        "evaluation", "bare", out, stage="evaluate", plugin="mine", label="tiny", metrics={"a/b": 2.5}, **facts
    )
    card = (taken_out(store, tiny, tmp_path / "out") / "README.md").read_text()
    assert "| mine | a · b | 2.50 | – | – |" in card
    folder = taken_out(store, store.find("evaluation", "bare"), tmp_path / "own")
    assert (folder / "notes.txt").exists() and "stand in this card alone" in (folder / "README.md").read_text()


def test_r2_measures_that_cannot_be_read_are_told_in_one_sentence(store, tiny, tmp_path):
    made = evaluated(store, tiny, [PLAIN])
    folder = store.folder("evaluation", made.key)
    for text in ("[1]", "{", json.dumps({"suite/plain": {"value": "x"}})):
        (tmp_path / "measures.json").write_text(text)
        with pytest.raises(ArtifactChanged, match=r"measures.json holds no measures; remove .* to measure anew$"):
            CardEvaluation.read(made, tmp_path)
    (folder / "measures.json").write_text("{}")
    with pytest.raises(ArtifactChanged):
        taken_out(store, tiny, tmp_path / "out")


def test_r2_words_of_others_break_no_table_and_no_block(store, tiny, tmp_path):
    config = {"instruction": "a ```` fence", "name": "x"}
    made = dataclasses.replace(tiny, label="a|b", config=config, metrics={"odd|name": 1.0})
    card = to_markdown(card_of(Lineage.of(made, store, Catalog.from_environment()), tmp_path, "pass", tmp_path))
    assert "\n`````yaml\ninstruction: a ```` fence\n" in card
    assert "| odd\\|name | 1 |" in card
    assert card.endswith(".\n")


NAMES = st.text(st.sampled_from("ab|`{}%\n \u2028é"), min_size=1, max_size=6)
AXES = st.sampled_from(["", "group", "domain"])


@st.composite
def any_measure(draw):
    axis = draw(AXES)
    more = {
        "better": draw(st.sampled_from(["lower", "higher", "neither"])),
        "unit": draw(st.sampled_from(["", "%", "pp", "points"])),
        "headline": draw(st.booleans()),
        "group_by": axis,
        "summary_rows": draw(st.sets(st.sampled_from(["worst_group", "gap", "mean"])).map(tuple)) if axis else (),
    }
    if draw(st.booleans()):
        return Relation(draw(NAMES), "one", "two", draw(st.sampled_from(["auc", "spearman"])), **more)
    statistic = draw(st.sampled_from(["mean", "share", "distance_from_half", "exp_mean", "balance"]))
    mean_over = draw(AXES) if not axis else ""
    return Measure(draw(NAMES), draw(st.sampled_from(["one", "none"])), statistic, mean_over=mean_over, **more)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(any_measure(), max_size=4, unique_by=lambda one: one.name),
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from(["", "a", "b|"]), st.sampled_from(["", "d"])), max_size=6
    ),
)
def test_r2_any_measure_has_its_row(tmp_path_factory, measures, values):
    """Every measure that can be declared gives a row of five cells, in both kinds of card."""
    folder = tmp_path_factory.mktemp("any")
    scores = [
        Score(str(index), score, value, group, domain)
        for index, (value, group, domain) in enumerate(values)
        for score in ("one", "two")
    ]
    metrics = write_evaluation(folder, scores, measures)
    store = Store(folder / "store")
    facts = {"key": "k", "digest": "d", "files": {}, "label": "any", "seed": 0, "config": {}, "inputs": {}, "data": {}}
    made = Manifest(kind="evaluation", stage="evaluate", plugin="bench", metrics=metrics, created=0, seconds=0, **facts)
    one = CardEvaluation.read(made, folder)
    for kind in ("evaluation", "model"):
        lineage = Lineage(dataclasses.replace(made, kind=kind), (), (), (), (one,))
        text = to_markdown(card_of(lineage, folder, "pass", store.root))
        shown = [measure for measure in measures if kind == "evaluation" or measure.headline]
        rows = [line for line in text.split("\n") if line.startswith("| bench |")]
        assert len(rows) == len(shown)
        assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
