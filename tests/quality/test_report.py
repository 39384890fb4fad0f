"""The quality report: its figures, what does not matter to it, and its gate."""

import json
import random

import pytest

from pipeline_core.errors import BadInput, GateFailed
from pipeline_core.quality.balance import auc
from pipeline_core.quality.items import EvaluationItems
from pipeline_core.quality.limits import check_gate
from pipeline_core.quality.report import (
    NOT_COMPARED,
    RepeatShares,
    measure_quality,
    metrics_of,
    repeats_in,
    write_quality,
)
from pipeline_core.quality.settings import QualityGate, QualitySettings
from tests.quality.rows import dataset, pair, pairs, sentence

SETTINGS = QualitySettings(sample=20, subsamples=3)


def quality_of(rows, settings=SETTINGS, human=None, items=()):
    table = {"made": dataset(rows)}
    return measure_quality("made", table, settings, human, repeats_in(table, items, 0.8))


def two_domains():
    return pairs(30) + [{**row, "id": f"g{row['id']}", "domain": "gender"} for row in pairs(12, seed=1)]


def test_the_order_of_rows_does_not_matter():
    rows = [*two_domains(), {**pairs(1)[0], "id": "again"}]
    shuffled = random.Random(3).sample(rows, len(rows))
    first, second = (quality_of(order).model_dump() for order in (rows, shuffled))
    assert _close(first, second)
    assert first["duplicates"] == pytest.approx(1 / 43)


def _close(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_close, one, other))
    return one == pytest.approx(other) if isinstance(one, float) else one == other


def test_a_set_given_twice_keeps_its_score_and_half_of_it_are_repeats():
    rows = pairs(10)
    twice = rows + [{**row, "id": f"{row['id']}~"} for row in rows]
    one, two = quality_of(rows), quality_of(twice)
    assert two.overall.diversity.n == 20
    assert two.overall.diversity.vendi.mean == pytest.approx(one.overall.diversity.vendi.mean)
    assert (one.near_duplicates, two.near_duplicates, two.duplicates) == (0, 0.5, 0.5)


def test_sets_are_compared_on_equally_many_rows():
    human = dataset(pairs(12, seed=5))
    same = [pair(number, random.Random(7)) for number in range(40)]
    quality = quality_of(same, human=human)
    assert quality.overall.diversity.n == 12
    assert quality.overall.diversity.vendi.mean == pytest.approx(1)
    assert quality.overall.diversity.relative.mean < 0.2
    assert quality.overall.diversity.human.mean == pytest.approx(quality.overall.diversity.human.high, rel=0.2)
    apart = quality_of(pairs(40, seed=5), human=dataset(pairs(40, seed=5)))
    assert apart.overall.diversity.relative.mean == pytest.approx(1, abs=0.15)
    assert apart.overall.diversity.relative.low < apart.overall.diversity.relative.high


def test_lengths_and_labels_by_hand():
    texts = [("aa", "b", 1.0), ("aaaa", "bbbb", 0.0), ("a", "bbb", None)]
    rows = [
        {"id": str(n), "prompt": f"p{n}", "chosen": c, "rejected": r, "domain": "age", "label": label}
        for n, (c, r, label) in enumerate(texts)
    ]
    scope = quality_of(rows).overall
    assert scope.lengths.chosen == pytest.approx(7 / 3)
    assert (scope.lengths.chosen_longer, scope.lengths.rejected_longer) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    # Of the nine pairs (2, 4, 1) x (1, 4, 3): larger 2>1, 4>1, 4>3; equal 4=4, 1=1.
    assert scope.lengths.auc == pytest.approx(4 / 9)
    assert scope.labels.model_dump() == {"labelled": 2, "mean": 0.5, "at_least_half": 0.5}


def test_auc_is_the_share_of_pairs():
    rng = random.Random(0)
    one, other = ([rng.randrange(8) for _ in range(20)] for _ in range(2))
    import numpy as np

    plain = sum((a > b) + (a == b) / 2 for a in one for b in other) / 400
    assert auc(np.array(one), np.array(other)) == pytest.approx(plain)


def test_coverage_counts_every_group_of_a_row():
    rows = [*pairs(4, template_id="t1"), {**pairs(1)[0], "id": "x", "prompt": "other", "group": ["old", "poor"]}]
    coverage = quality_of(rows).coverage
    cells = {(cell.domain, cell.group, cell.template): cell.rows for cell in coverage.cells}
    assert cells == {("age", "old", "t1"): 4, ("age", "old", "none"): 1, ("age", "poor", "none"): 1}
    assert (coverage.groups, coverage.templates, coverage.combinations) == (2, 1, 3)


def test_what_cannot_be_told_is_said():
    bare = quality_of([{**row, "domain": ""} for row in pairs(5)])
    assert list(bare.domains) == ["none"]
    assert bare.notes == (
        NOT_COMPARED,
        "No row has a domain, so nothing is told apart by domains.",
    )
    lonely = quality_of(
        [*pairs(5), {**pairs(1, seed=9)[0], "id": "x", "domain": "religion"}], human=dataset(pairs(5, 2))
    )
    assert lonely.domains["religion"].diversity is None
    assert lonely.notes == (
        NOT_COMPARED,
        "One row says nothing about diversity: religion.",
    )
    assert "quality/domain/religion/vendi" not in metrics_of(lonely)
    absent = quality_of(two_domains(), human=dataset(pairs(8, seed=4)))
    assert absent.domains["gender"].diversity.relative is None
    assert absent.notes == (
        NOT_COMPARED,
        "The human set has fewer than 2 rows of: gender.",
    )


@pytest.mark.parametrize("label", [float("nan"), float("inf")])
def test_labels_that_are_no_numbers_are_refused(label):
    from datasets import Dataset

    rows = [{**row, "label": 0.5 if n else label} for n, row in enumerate(pairs(3))]
    with pytest.raises(BadInput, match="made: row 1: column 'label' is (nan|inf), no finite number"):
        measure_quality("made", {"made": Dataset.from_list(rows)}, SETTINGS, None, RepeatShares(0, 0))


def test_other_rows_are_refused():
    with pytest.raises(BadInput, match="chosen, rejected is missing"):
        repeats_in({"mine": dataset([{"id": "1", "prompt": "p"}], "prompt")}, [], 0.8)


ITEMS = [
    ("preference", lambda row: {"prompt": row["prompt"], "chosen": row["chosen"], "rejected": "no"}),
    ("prompt", lambda row: {"prompt": row["prompt"].upper()}),
    ("scored", lambda row: {"prompt": row["prompt"], "completion": row["rejected"], "score": 0.5}),
    ("text", lambda row: {"text": f"  {row['chosen']}\n", "domain": ""}),
    ("choice", lambda row: {"prompt": row["prompt"], "options": ["a", "b"], "label": 0}),
    (
        "question",
        lambda row: {
            "context": row["prompt"],
            "question": row["chosen"],
            "options": ["a", "b"],
            "label": 0,
            "condition": "ambiguous",
        },
    ),
]


@pytest.mark.parametrize(("kind", "item_of"), ITEMS, ids=[kind for kind, _ in ITEMS])
def test_items_of_every_kind_are_recognised(kind, item_of):
    rows = pairs(20)
    rng = random.Random(8)
    others = [item_of(pair(number, rng)) for number in range(30)]
    items = dataset([{"id": f"i{n}", **item} for n, item in enumerate([*others, item_of(rows[3])])], kind)
    quality = quality_of(rows, items=[EvaluationItems("tests", items, kind, 0.8)])
    assert quality.contaminated == pytest.approx(1 / 20)
    (overlap,) = quality.contamination
    assert (overlap.entry, overlap.items, overlap.parts) == ("tests", 31, {"made": 1})
    assert overlap.examples == ({"part": "made", "row": "r3", "item": "i30", "how": "alike"},)


def contamination_of(rows, items, kind):
    (overlap,) = quality_of(rows, items=[EvaluationItems("tests", dataset(items, kind), kind, 0.8)]).contamination
    return {example["row"]: (example["item"], example["how"]) for example in overlap.examples}, overlap.how


def test_an_item_inside_a_longer_row_is_found_and_a_short_one_is_not():
    rng = random.Random(3)
    items = [{"id": f"i{number}", "text": sentence(rng, 12), "domain": ""} for number in range(5)]
    items.append({"id": "short", "text": "he came home late", "domain": ""})
    rows = pairs(4)
    rows[1]["prompt"] = f"Answer this comment, please: {items[2]['text'].upper()} {sentence(rng, 40)}"
    rows[2]["rejected"] = f"{sentence(rng, 30)} {items[4]['text'][:-6]}"
    rows[3]["prompt"] = f"{sentence(rng, 30)} he came home late {sentence(rng, 30)}"
    found, how = contamination_of(rows, items, "text")
    assert found == {"r1": ("i2", "contained"), "r2": ("i4", "contained")}
    assert how == {"contained": 2}


@pytest.mark.parametrize("kind", ["preference", "scored"])
def test_the_prompt_of_an_item_is_an_item_by_itself(kind):
    rows = pairs(4)
    completions = {"chosen": sentence(random.Random(5)), "rejected": sentence(random.Random(6))}
    columns = completions if kind == "preference" else {"completion": completions["chosen"], "score": 0.5}
    items = [{"id": "i0", "prompt": rows[2]["prompt"], **columns}]
    assert contamination_of(rows, items, kind)[0] == {"r2": ("i0", "alike")}


def test_a_row_made_from_an_item_is_found_by_its_source_and_id():
    items = [{"id": f"c{number}", "text": text, "domain": "", "source": "mine"} for number, text in enumerate("abc")]
    table = pairs(4, source="mine", source_id="")
    table[1]["source_id"] = "c2"
    table[2] |= {"source": "yours", "source_id": "c2"}
    table[3]["source_id"] = "c9"
    assert contamination_of(table, items, "text") == ({"r1": ("c2", "source_id")}, {"source_id": 1})


def broken(rows, human=None, **limits):
    compared = {"human": "sandbox_pairs"} if "min_vendi_relative" in limits else {}
    settings = QualitySettings(sample=20, subsamples=2, gate=QualityGate(**limits), **compared)
    with pytest.raises(GateFailed) as failed:
        check_gate(quality_of(rows, settings, human), settings.gate)
    assert failed.value.exit_code == 3
    return str(failed.value)


def test_a_gate_names_metric_value_limit_and_domain():
    rows = two_domains()
    assert "rows of gender is 12, below the limit 20" in broken(rows, min_rows_per_domain=20)
    assert "rows of age" not in broken(rows, min_rows_per_domain=20)
    assert "vendi of all rows is" in broken(rows, min_vendi=100)
    human = dataset([{**row, "id": f"h{row['id']}"} for row in two_domains()])
    said = broken(rows, human, min_vendi_relative=1.5)
    assert all(f"vendi_relative of {where} is" in said for where in ("all rows", "age", "gender"))
    assert "below the limit 1.5" in said
    twice = rows + [{**row, "id": f"{row['id']}~"} for row in rows]
    assert "near_duplicates of all rows is 0.5, above the limit 0.1" in broken(twice, max_near_duplicates=0.1)
    long = [{**row, "chosen": f"{row['chosen']} {sentence(random.Random(0))}"} for row in rows]
    assert "length_auc of age is 0.5 from one half, above the limit 0.1" in broken(long, max_length_auc=0.1)
    bare = [{**row, "domain": ""} for row in rows]
    assert "no row has a domain" in broken(bare, min_rows_per_domain=1)
    assert "the rows were compared with no evaluation set" in broken(rows, max_contaminated=0.5)
    check_gate(quality_of(rows), QualityGate(min_vendi=2, max_near_duplicates=0, min_rows_per_domain=12))


def test_a_figure_on_its_limit_keeps_to_it():
    # 0.8 - 0.5 is 0.30000000000000004.
    quality = quality_of(two_domains())
    lengths = quality.overall.lengths.model_copy(update={"auc": 0.8})
    exact = quality.model_copy(update={"overall": quality.overall.model_copy(update={"lengths": lengths})})
    check_gate(exact, QualityGate(max_length_auc=0.3))
    with pytest.raises(GateFailed, match="length_auc of all rows is 0.3 from one half, above the limit 0.299"):
        check_gate(exact, QualityGate(max_length_auc=0.299))


def test_a_gate_on_a_comparison_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="name one as `human`"):
        QualitySettings(gate=QualityGate(min_vendi_relative=0.5))


def test_files_are_strict_json_and_a_readable_table(tmp_path):
    quality = quality_of(two_domains())
    write_quality(quality, tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads((tmp_path / "quality.json").read_text(), parse_constant=refuse)
    assert found["overall"]["rows"] == 42
    assert "| gender | 12 |" in (tmp_path / "quality.md").read_text()
    metrics = metrics_of(quality)
    assert metrics["quality/rows"] == 42
    assert metrics["quality/domain/gender/rows"] == 12
    assert {"quality/vendi", "quality/near_duplicates", "quality/length_auc"} <= set(metrics)
