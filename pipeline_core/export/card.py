"""The card of an exported folder: description, lineage, licences, figures and loading.

Everything that the template prints is made here, with types; the template only reads attributes and loops over tuples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from pipeline_core.export.figures import CardRow, beside, rows_of
from pipeline_core.export.lineage import EVALUATION, Lineage
from pipeline_core.export.rewards import ENCODER_CODE
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.markdown_text import Verbatim, fence_of, finalized
from pipeline_core.models.model_files import is_masked
from pipeline_core.models.model_sources import LOCAL, NAMES_A_MODEL
from pipeline_core.store.artifacts import MANIFEST, Manifest

TITLES = {
    "model": "language model",
    "reward": "reward model",
    "preferences": "preference data",
    "evaluation": "evaluation",
}
SPDX = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-NC-SA-4.0", "CC0-1.0"}
"""Licences that the hub knows by these names in lower case; all others become `other`."""
ORIGIN = ("source", "made_by", "licence")
SPLITS = {"preferences": "train", "evaluation": "test"}
"""Split of the rows, by kind of artifact, for kinds that are tables."""
NOTHING = "–"


@dataclass(frozen=True)
class RowOrigin:
    """Origin of rows: their source, maker and licence, and the number of rows with this origin."""

    source: str
    made_by: str
    licence: str
    rows: int


@dataclass(frozen=True)
class ArtifactCard:
    """Content of a card, ready to print."""

    header: str
    name: str
    title: str
    manifest: Manifest
    usage: str
    sign: str
    lineage: Lineage
    origins: tuple[RowOrigin, ...]
    settings: str
    foreign: tuple[str, ...]
    licences: tuple[str, ...]
    figures: tuple[CardRow, ...]
    metrics: tuple[tuple[str, str], ...]
    versions: str


def write_card(lineage: Lineage, folder: Path, usage: str, target: Path) -> None:
    """Write the card of the artifact in `folder` to `target`; `usage`: Python code that loads the artifact."""
    text = to_markdown(card_of(lineage, folder, usage, target.parent))
    with replace_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def card_of(lineage: Lineage, folder: Path, usage: str, out: Path) -> ArtifactCard:
    """The card of the artifact in `folder`, which is exported to `out`."""
    manifest = lineage.manifest
    origins = _origins(folder) if manifest.kind == "preferences" else ()
    foreign, known = _foreign_bases(lineage, folder), licences(lineage, origins)
    header = _header(lineage, known, is_whole=not foreign, task=_task(manifest.kind, folder, out))
    settings, is_evaluation = _yaml(manifest.config, sort_keys=True), manifest.kind == EVALUATION
    noted = beside(manifest.metrics, lineage.evaluations) if is_evaluation else manifest.metrics
    return ArtifactCard(
        header=_yaml(header, sort_keys=False),
        name=f"{manifest.plugin} of {manifest.label}" if is_evaluation else manifest.label,
        title=TITLES[manifest.kind],
        manifest=manifest,
        usage=usage,
        sign=_sign(manifest.metrics) if manifest.kind == "reward" else "",
        lineage=lineage,
        origins=origins,
        settings=settings,
        foreign=tuple(foreign),
        licences=tuple(known),
        figures=tuple(rows_of(lineage.evaluations, details=is_evaluation)),
        metrics=tuple((name, f"{value:.6g}") for name, value in sorted(noted.items())),
        versions=", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())),
    )


def to_markdown(card: ArtifactCard) -> str:
    """The card as Markdown with the header that the hub reads."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # a Markdown file ends with one
        autoescape=False,
        finalize=finalized,
    )
    environment.filters |= {"verbatim": Verbatim, "fence": fence_of}
    environment.filters["cell"] = _cell  # labels and citations may hold bars and line breaks
    template = environment.from_string((files("pipeline_core.export") / "card.md.j2").read_text(encoding="utf-8"))
    return template.render(card=card)


def licences(lineage: Lineage, origins: Iterable[RowOrigin]) -> list[str]:
    """Licences of the rows; if a row names none or the artifact is no table, also of all data behind it."""
    own = [origin.licence for origin in origins]
    named = [licence for licence in own if licence]
    if len(named) < len(own) or not own:
        named += [data.licence for data in lineage.data]
    return sorted(set(named))


def _sign(metrics: Mapping[str, float]) -> str:
    """Text on the decision of a reward's sign."""
    return (
        f"the sign was decided on {metrics.get('sign/pairs', 0):.0f} units of labelled pairs\nthat were "
        f"{'held out' if metrics.get('sign/held_out') else 'learned from'}, by an exact two-sided binomial test\n"
        f"(p = {metrics.get('sign/p_value', 1):.3g})"
    )


def _foreign_bases(lineage: Lineage, folder: Path) -> list[str]:
    """Names of models and word lists by others that the artifact was made from. Their own licences hold."""
    base = lineage.base
    if lineage.manifest.kind == "reward":
        # Members are read from their copies: the store may no longer hold the originals.
        within = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob(f"*/{MANIFEST}")))
        configs = [lineage.manifest.config, *(manifest["config"] for manifest in within)]
    else:
        # A base that was trained on data holds no weights of others.
        configs = [{"label": base.label} | base.config] if base and not base.data else []
    return list(dict.fromkeys(name for config in configs if (name := _named(config))))


def _named(config: Mapping[str, Any]) -> str:
    if config.get("words") == LOCAL:
        return "a word list that was given as a file"
    names = (config.get(name) for name in (*NAMES_A_MODEL, "label"))
    name = next((name for name in names if name), "")
    return "a model that was given as a folder" if name == LOCAL else str(name)


def _task(kind: str, folder: Path, out: Path) -> str:
    """The hub's task of the exported model; empty if transformers cannot load it."""
    if kind == "model":
        return "fill-mask" if is_masked(folder) else "text-generation"
    # Other rewards apply their sign in `score.py` alone: a pipeline of transformers could score the wrong way round.
    return "text-classification" if (out / ENCODER_CODE).exists() else ""


def _header(lineage: Lineage, known: list[str], *, is_whole: bool, task: str) -> dict[str, Any]:
    """YAML header for the hub. It names a licence only if everything behind the artifact is known to have that one."""
    manifest = lineage.manifest
    is_known = is_whole and not lineage.missing and len(known) == 1 and known[0] in SPDX
    licence = known[0] if is_known else None
    header: dict[str, Any] = {"license": licence.lower() if licence else "other"}
    if licence is None:
        header["license_name"] = "see-card"  # the hub asks for a name beside `other`
    header["tags"] = ["evenhand", "bias", manifest.plugin]
    if split := SPLITS.get(manifest.kind):
        header["configs"] = [{"config_name": "default", "data_files": [{"split": split, "path": f"data/{split}-*"}]}]
    else:
        header["datasets"] = sorted({data.ref.entry for data in lineage.data})
    if task:
        header |= {"library_name": "transformers", "pipeline_tag": task}
    return header


def _origins(folder: Path) -> tuple[RowOrigin, ...]:
    """Origins of the rows, sorted by number of rows, largest first."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "rows.parquet")
    present = [name for name in ORIGIN if name in file.schema_arrow.names]
    counts: Counter[tuple[str, str, str]] = Counter()
    for batch in file.iter_batches(columns=present):
        columns = batch.to_pydict()
        given = [columns.get(name, [""] * batch.num_rows) for name in ORIGIN]
        counts.update((a or "", b or "", c or "") for a, b, c in zip(*given, strict=True))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(RowOrigin(source, made_by, licence, rows) for (source, made_by, licence), rows in ordered)


def _yaml(document: Mapping[str, Any], *, sort_keys: bool) -> str:
    return str(yaml.safe_dump(dict(document), sort_keys=sort_keys, allow_unicode=True)).strip()


def _cell(text: object) -> str:
    """Text as a table cell: on one line, with bars escaped; a dash if empty."""
    return " ".join(str(text).split()).replace("|", "\\|") or NOTHING
