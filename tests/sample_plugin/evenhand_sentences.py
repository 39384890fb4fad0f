"""Sentences in two columns, a stereotype and its opposite, as a data format; and a suite that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa

from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.refs import DataRef
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.evaluation.pair_scores import pair_scores
from pipeline_core.evaluation.suite import SuiteRun
from pipeline_core.models.likelihood.settings import OptionsConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation
from pipeline_core.plugin.types import Metrics

STRINGS = pa.list_(pa.string())


def sentence_rows(table: pa.Table) -> Rows:
    """Sentence rows: `options` are both sentences; their fault is `options` where they are the same."""
    pairs = [list(pair) for pair in zip(table["stereotype"].to_pylist(), table["opposite"].to_pylist(), strict=True)]
    faults = [
        ValueFault(row, "opposite", "options", "is the stereotype again")
        for row, (one, other) in enumerate(pairs)
        if one == other
    ]
    return pa.table({"options": pa.array(pairs, STRINGS), "domain": table["about"]}), faults


@hookimpl
def register_data_formats() -> list[DataFormat]:
    """Register `two_sentences`."""
    return [DataFormat("two_sentences", ("stereotype", "opposite", "about"), sentence_rows)]


class TwoSentencesConfig(OptionsConfig):
    """Share of pairs whose stereotype is likelier; 50 % is even."""

    name: Literal["two_sentences"] = "two_sentences"
    data: DataRef = DataRef(entry="sandbox_sentences")
    """Sentence rows; the first option is the stereotype."""


MEASURES = (Measure("two_sentences/stereotype_share", "stereotype", "share", "neither", "%", group_by="domain"),)


def run(config: TwoSentencesConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both sentences of every pair with `inputs.model`."""
    suite = SuiteRun(config.name, config.data, inputs, out, context)
    options = [row["options"][:2] for row in suite.rows]
    found = suite.option_logps(config, suite.rows, [""] * len(options), options)
    units = suite.units(alone="pair")
    scores = pair_scores(suite.rows, found.logps, "stereotype", units.names)
    return suite.write(len(options), scores, MEASURES, units.noun)


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Register `two_sentences`."""
    example = {"data": {"entry": "sandbox_sentences", "rows": 8}}
    return [Evaluation(TwoSentencesConfig, run, example=example, measures=lambda _: MEASURES)]
