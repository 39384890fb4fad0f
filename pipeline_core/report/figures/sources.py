"""Sources of the sections of a report: the results of a run, and tables that several sections use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import EvenhandError
from pipeline_core.plugin.specs import STAGES
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import ReportData
from pipeline_core.report.figures.compare import ComparedRows, tables_of
from pipeline_core.report.figures.model import ReportModel


@dataclass(frozen=True)
class Sources:
    """The artifacts of a run, its configuration as JSON, and facts of the run such as `run_id`."""

    collected: ReportData
    config: Mapping[str, Any]
    info: Mapping[str, Any]

    @cached_property
    def models(self) -> list[ReportModel]:
        """Measured models: the base first, then policies in the order of the plan."""
        trained = [stage for stage in self.collected.stages if stage.stage == "policy"]
        base = next((stage for stage in self.collected.stages if stage.stage == "base"), None)
        plugins = {stage.label: stage.plugin for stage in trained} | {BASE: base.plugin if base else ""}
        seeds: dict[str, set[int]] = {}
        for evaluation in self.collected.about("model"):
            seeds.setdefault(evaluation.label, set()).update([] if evaluation.seed is None else [evaluation.seed])
        order = dict.fromkeys([BASE, *(stage.label for stage in trained), *seeds])
        return [
            ReportModel(label=label, plugin=plugins.get(label, ""), seeds=sorted(seeds[label]))
            for label in order
            if label in seeds
        ]

    @cached_property
    def tables(self) -> ComparedRows:
        """Rows and group tables of all models, each compared with the base."""
        return tables_of(self.collected.about("model"), [model.label for model in self.models])

    @property
    def data(self) -> list[dict[str, Any]]:
        """Catalog entries that the artifacts were made from, with licence and source if the catalog has them."""
        used: dict[str, set[str]] = {}
        for stage, manifest in self.collected.made:
            for ref in manifest.get("data", {}):
                # Splits and samples of one entry have one licence.
                used.setdefault(json.loads(ref)["entry"], set()).add(stage.stage)
        by = {name: ", ".join(stage for stage in STAGES if stage in used[name]) for name in sorted(used)}
        return [{"entry": name, "used": stages} | _described(name) for name, stages in by.items()]

    @property
    def versions(self) -> dict[str, str]:
        """Libraries by name, each with all versions that made an artifact."""
        by_name: dict[str, set[str]] = {}
        for _, manifest in self.collected.made:
            for name, version in manifest.get("versions", {}).items():
                by_name.setdefault(name, set()).add(version)
        return {name: ", ".join(sorted(versions)) for name, versions in sorted(by_name.items())}


def _described(name: str) -> dict[str, Any]:
    try:
        facts = Catalog.from_environment().describe(name)
    except EvenhandError:  # the entry may be gone from the catalog since
        return {}
    return {key: str(facts[key]) for key in ("licence", "citation") if facts.get(key)}
