"""The model card of a run: what its policies were made of, how they were trained and measured, and how to load them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pipeline_core.gate.settings import Registration
from pipeline_core.models.sources import NAMES_A_MODEL
from pipeline_core.report.figures.model import BASE, Report, Stage
from pipeline_core.report.render import gate_words, wording
from pipeline_core.report.render.markdown import comparison_lines, gate_lines

INTENDED = (
    "Meant for research on social bias in language models and on ways to reduce it.",
    "Not meant to decide about people or to give advice, nor for users without measurements of the use at hand.",
)
LIMITS = (
    "A smaller bias on these suites does not make a model fair: other groups, languages and tasks were not measured.",
    "What a method lowers on the measured side it may raise elsewhere; compare knowledge and fluency in the table.",
)


@dataclass(frozen=True)
class Trained:
    """A policy: its method, the artifact of every seed, and its settings as YAML."""

    label: str
    plugin: str
    stages: tuple[Stage, ...]
    settings: str


@dataclass(frozen=True)
class Card:
    """What the card says besides the report's own tables."""

    base: str
    base_settings: str
    trained: tuple[Trained, ...]
    measured: tuple[str, ...]
    limits: tuple[str, ...]
    loading: str
    intended: tuple[str, ...] = INTENDED


def card_of(report: Report) -> Card:
    """The card of a report's models."""
    return Card(
        base=_base(report),
        base_settings=_yaml(_given(report.config.get("base"))),
        trained=tuple(_trained(report)),
        measured=tuple(_measured(report)),
        limits=(*LIMITS, *_limits(report)),
        loading=_loading(report),
    )


def to_card(report: Report) -> str:
    """The card as Markdown."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    template = environment.from_string((files("pipeline_core.report") / "model_card.md.j2").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        card=card_of(report),
        table="\n".join(comparison_lines(report.rows, report.models)),
        gate="\n".join(gate_lines(report.gate)),
        cell=lambda text: str(text).replace("|", "\\|"),
    )


def _base(report: Report) -> str:
    """What the base model is, in words."""
    config = report.config.get("base") or {}
    named = next((config[key] for key in NAMES_A_MODEL if config.get(key)), "")
    if not config:
        return "None: nothing here starts from a language model."
    if not named:
        if config.get("data"):
            return f"Trained in this run by `{config['name']}`; it holds no weights of others."
        return f"Made by `{config['name']}`, whose settings name no model of others."
    revision = f" at `{config['revision']}`" if config.get("revision") else ""
    return f"`{named}`{revision}, read by `{config['name']}`. What its licence says holds for all models here."


def _trained(report: Report) -> Iterator[Trained]:
    for entry in report.config.get("policy") or ():
        label = str(entry.get("label") or entry["name"])
        stages = tuple(one for one in report.stages if one.stage == "policy" and one.label == label)
        yield Trained(label, str(entry["name"]), stages, _yaml(_given(entry)))


def _measured(report: Report) -> Iterator[str]:
    """Suites with what they counted, and the groups that their measures tell apart."""
    told: dict[str, dict[tuple[str, str], None]] = {row.suite: {} for row in report.rows}
    for table in report.group_tables:
        told.setdefault(table.suite, {})[table.axis, ", ".join(map(wording.plain, table.groups))] = None
    for suite, groups in told.items():
        counts = [wording.counted(one, len(report.models)) for one in report.items if one.suite == suite]
        figures = max((cell.n for row in report.rows if row.suite == suite for cell in row.cells), default=0)
        yield f"{wording.plain(suite)}: " + "; ".join(
            [
                *(counts or [f"up to {figures:,} items for a figure"]),
                *(f"by {axis} ({names})" for axis, names in groups),
            ]
        )


def _limits(report: Report) -> Iterator[str]:
    seeds = len(report.seeds)
    yield (
        f"Trained with {seeds} seeds: intervals generalise to new items and new seeds together."
        if seeds > 1
        else "Trained with one seed: how much another would change is not known. Intervals generalise to new items."
    )
    yield from (f"No figure: {line.removeprefix(wording.UNDEFINED).strip()}." for line in wording.undefined(report))
    yield from (f"Gate not passed: {gate_words.sentence(one)}." for one in report.gate if not one.passed)


def _loading(report: Report) -> str:
    stage = next((one for one in report.stages if one.stage == "policy"), None)
    stage = stage or next((one for one in report.stages if one.stage == BASE), None)
    if stage is None:
        return ""
    lines = [
        f"# evenhand export {stage.key[:12]} my-model    ({stage.label}, seed {stage.seed})",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'model = AutoModelForCausalLM.from_pretrained("my-model")',
        'tokenizer = AutoTokenizer.from_pretrained("my-model")',
    ]
    if wanted := report.config.get("register_as"):
        one = Registration.model_validate(wanted)
        uri = f"models:/{one.name_of(stage.label)}@{one.alias}"
        lines += ["", "# or, where it has passed the gate, from MLflow's registry:", "import mlflow", ""]
        lines += ['mlflow.set_tracking_uri("...")  # where the run was tracked, as its last lines say']
        lines += [f'folder = mlflow.artifacts.download_artifacts("{uri}")']
        lines += ["model = AutoModelForCausalLM.from_pretrained(folder)"]
    return "\n".join(lines)


def _given(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings without those that were left open."""
    return {name: value for name, value in (config or {}).items() if value is not None}


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)).strip() if config else ""
