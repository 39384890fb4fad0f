"""The report and the model card of its run as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from pipeline_core.files.markdown_text import Verbatim, fence_of, finalized, inert
from pipeline_core.report.all_sections import shown_in
from pipeline_core.report.figures.model import Report
from pipeline_core.report.sections.card import card_of


def to_markdown(report: Report) -> str:
    """The whole report without its plots."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {inert(report.name)}"
    if report.description:
        yield from ("", inert(report.description))
    seeds = f"seeds {', '.join(map(str, report.seeds))}" if report.seeds else ""
    facts = [f"run `{report.run_id}`" if report.run_id else "", report.created, seeds]
    yield from ("", " · ".join(fact for fact in facts if fact))
    for section, shown in shown_in(report):
        yield from (str(finalized(line)) for line in section.markdown(shown))


def to_card(report: Report) -> str:
    """The model card: the content of the page's card, and tables of the sections."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, finalize=finalized
    )
    environment.filters["verbatim"] = Verbatim
    template = environment.from_string((files("pipeline_core.report") / "model_card.md.j2").read_text(encoding="utf-8"))
    texts = ("\n".join(map(inert, section.card(shown))) for section, shown in shown_in(report))
    return template.render(
        report=report,
        card=card_of(report),
        sections=[text.lstrip("\n") for text in texts if text],
        cell=lambda text: str(text).replace("|", "\\|"),
        fence=fence_of,
    )
