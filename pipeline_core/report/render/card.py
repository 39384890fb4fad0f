"""The model card of a run as a Markdown file: the content of the page's card, and tables of the sections."""

from __future__ import annotations

from importlib.resources import files

from pipeline_core.report.all_sections import shown_in
from pipeline_core.report.figures.model import Report
from pipeline_core.report.sections.card import card_of


def to_card(report: Report) -> str:
    """The card as Markdown."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    template = environment.from_string((files("pipeline_core.report") / "model_card.md.j2").read_text(encoding="utf-8"))
    texts = ("\n".join(section.card(shown)) for section, shown in shown_in(report))
    return template.render(
        report=report,
        card=card_of(report),
        sections=[text.lstrip("\n") for text in texts if text],
        cell=lambda text: str(text).replace("|", "\\|"),
    )
