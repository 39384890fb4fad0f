"""The model card of a run: base model, data, training, measurements and loading of its policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_core.gate.settings import Registration
from pipeline_core.models.model_sources import NAMES_A_MODEL
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.model import Report, ReportStage
from pipeline_core.report.render import gate_words, wording
from pipeline_core.report.render.notes import measured_lines, undefined
from pipeline_core.report.section import Section, Shown

INTENDED = (
    "Meant for research on social bias in language models and on ways to reduce it.",
    "Not meant to decide about people or to give advice, nor for a use that has not been measured.",
)
LIMITS = (
    "A smaller bias on these suites does not make a model fair: other groups, languages and tasks were not measured.",
    "A method that lowers a measured bias may do harm elsewhere; compare knowledge and fluency in the table.",
)


@dataclass(frozen=True)
class PolicyCard:
    """A policy: its method, the artifact of every seed, and its settings as YAML."""

    label: str
    plugin: str
    stages: tuple[ReportStage, ...]
    settings: str


@dataclass(frozen=True)
class RunCard:
    """Content of the card besides the report's own tables."""

    base: str
    base_settings: str
    trained: tuple[PolicyCard, ...]
    measured: tuple[str, ...]
    limits: tuple[str, ...]
    loading: str
    intended: tuple[str, ...] = INTENDED


def card_of(report: Report) -> RunCard:
    """The card of a report's models."""
    return RunCard(
        base=_base(report),
        base_settings=_yaml(report.config.get("base")),
        trained=tuple(_trained(report)),
        measured=tuple(measured_lines(report)),
        limits=(*LIMITS, *_limits(report)),
        loading=_loading(report),
    )


def _base(report: Report) -> str:
    """The base model in words."""
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


def _trained(report: Report) -> Iterator[PolicyCard]:
    for entry in report.config.get("policy") or ():
        label = str(entry.get("label") or entry["name"])
        stages = tuple(stage for stage in report.stages if stage.stage == "policy" and stage.label == label)
        yield PolicyCard(label, str(entry["name"]), stages, _yaml(entry))


def _limits(report: Report) -> Iterator[str]:
    seeds = len(report.seeds)
    yield (
        f"Trained with {seeds} seeds: intervals generalise to new items and new seeds together."
        if seeds > 1
        else "Trained with one seed: variation between seeds is not known. Intervals generalise to new items."
    )
    yield from (f"No figure: {line.removeprefix(wording.UNDEFINED).strip()}." for line in undefined(report))
    yield from (f"Gate not passed: {gate_words.sentence(verdict)}." for verdict in report.gate if not verdict.passed)


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


def _yaml(config: Mapping[str, Any] | None) -> str:
    """Settings as YAML, without those that are None."""
    import yaml

    given = {name: value for name, value in (config or {}).items() if value is not None}
    return str(yaml.safe_dump(given, sort_keys=False, allow_unicode=True)).strip() if given else ""


def _draw(shown: Shown[Report]) -> dict[str, Any] | None:
    card = card_of(shown.part)
    return {"card": card} if card.trained else None


SECTION = Section(name="card", title="Model card", order=90, part=Report, template="card.html.j2", draw=_draw)
