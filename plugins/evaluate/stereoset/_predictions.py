"""Predictions for StereoSet (arXiv 2004.09456): `{part: [{id, score}]}` with every sentence, larger is likelier.

The sentences come from the catalog entry `stereoset` (the development part), or from `stereoset_test` if the ids are of
that part. Items without a score for any sentence are left out and counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from pipeline_core.data.casting import plain_values
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.files import read_chunks
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, quoted
from pipeline_core.plugin.figures import JudgedPredictions
from plugins.evaluate.stereoset._arithmetic import OVERALL, PARTS, Preference, figures, prefer

PredictionFigures = Mapping[str, float | int | None]
HEADS = ("part", "domain", "LM", "SS", "ICAT", "n")
ENTRIES = ("stereoset", "stereoset_test")
ByDomain = dict[str, list[tuple[str, Preference]]]
"""Target term and preference of every item, by domain."""
ScoresByItem = dict[str, dict[str, tuple[float, str]]]
"""Score and place of every sentence, by part and sentence id."""


def judge_scores(file: Path) -> JudgedPredictions:
    """LM, SS and ICAT by part and domain; see `evaluate_predictions`."""
    scores = _scores(file)
    items = _items(scores)
    by_part: dict[str, ByDomain] = {
        part: defaultdict(list) for part in [*scores, *([OVERALL] if len(scores) > 1 else [])]
    }
    absent = 0
    for part in scores:
        for item in items[part]:
            if (three := _three(file, item, scores[part])) is None:
                absent += 1
                continue
            for cell, domain in product({part, OVERALL} & by_part.keys(), (item["domain"], OVERALL)):
                by_part[cell][domain].append((item["group"][0], prefer(three)))
    cells = {part: _figures(preferences) for part, preferences in by_part.items()}
    notes = [f"{absent} items left out: the file has no score for their sentences"] if absent else []
    return JudgedPredictions(cells, HEADS, [*notes, *_absent_parts(scores, items)])


def _figures(preferences: ByDomain) -> dict[str, PredictionFigures]:
    names = sorted(name for name in preferences if name != OVERALL)
    return {name: asdict(figures(preferences[name])) for name in [*names, OVERALL]}


def _absent_parts(scores: ScoresByItem, items: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    for part in PARTS:
        if part not in scores and items[part]:
            yield f"{part} left out, all of its {len(items[part])} items: the file has no score for this part"


def _scores(file: Path) -> ScoresByItem:
    by_part: ScoresByItem = {}
    for chunk in read_chunks(file, "json", "stereoset", may_be_empty=True, levels=("part",), objects=True):
        if missing := [name for name in ("id", "score") if name not in chunk.table.column_names]:
            columns = ", ".join(name for name in chunk.table.column_names if name not in ("part", "number"))
            raise BadInput(f"stereoset: {chunk.place(0)}: missing column {missing[0]!r}; columns found: {columns}")
        part = chunk.table["part"][0].as_py()
        if part not in PARTS:
            raise BadInput(f"stereoset: {file}: {quoted(part, 200)} is none of {', '.join(PARTS)}")
        known = by_part.setdefault(part, {})
        names = map(str, plain_values(chunk.table["id"]))  # ids may be written as numbers
        rows = zip(names, plain_values(chunk.table["score"]), strict=True)
        for row, (name, score) in enumerate(rows):
            if not _is_finite(score):
                told = quoted(score, 60)
                raise BadInput(f"stereoset: {chunk.place(row)}: column 'score' is {told}, not a finite number")
            if name in known:
                told = f"{quoted(name, 200)} has a score before, in {known[name][1]}"
                raise BadInput(f"stereoset: {chunk.place(row)}: sentence {told}")
            known[name] = float(score), chunk.place(row)
    if not by_part:
        raise BadInput(f"stereoset: {file} has no scores")
    return by_part


def _is_finite(score: Any) -> bool:
    try:
        return not isinstance(score, bool) and isinstance(score, int | float) and math.isfinite(score)
    except OverflowError:  # an integer too large for a float
        return False


def _items(scores: ScoresByItem) -> dict[str, list[dict[str, Any]]]:
    """Items of every part, from the entry that contains the file's first sentence."""
    entry = next((entry for entry in ENTRIES if _knows_first(scores, entry)), ENTRIES[0])
    items = _items_of(entry)
    for part, by_id in scores.items():
        known = {name for item in items[part] for name in item["sentence_ids"]}
        if strange := [(name, place) for name, (_, place) in by_id.items() if name not in known]:
            told = quoted(strange[0][0], 200)
            raise BadInput(f"stereoset: {strange[0][1]}: {told} is no {part} sentence of {entry}")
    return items


def _knows_first(scores: ScoresByItem, entry: str) -> bool:
    if entry != ENTRIES[0] and not Catalog.from_environment().describe(entry)["available"]:
        return False
    # one sentence is enough: ids of the two parts differ
    first = {name for by_id in scores.values() for name in list(by_id)[:1]}
    return any(first & set(item["sentence_ids"]) for items in _items_of(entry).values() for item in items)


def _items_of(entry: str) -> dict[str, list[dict[str, Any]]]:
    items: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for item in Catalog.from_environment().load(DataRef(entry=entry)).to_list():
        items[item["part"]].append(item)
    return items


def _three(file: Path, item: Mapping[str, Any], scores: Mapping[str, tuple[float, str]]) -> list[float] | None:
    """Scores of an item's three sentences; None if no sentence has a score."""
    given = [name for name in item["sentence_ids"] if name in scores]
    if not given:
        return None
    if missing := [name for name in item["sentence_ids"] if name not in scores]:
        raise BadInput(
            f"stereoset: {file}: sentence {missing[0]!r} of item {item['id']} has no score, others of the item do"
        )
    return [scores[name][0] for name in item["sentence_ids"]]
