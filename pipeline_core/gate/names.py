"""Finds the figure that a limit names, in the spellings of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_core.errors import suggestion
from pipeline_core.plugin.specs import ANY

MOST_NAMES = 40
"""Names that a message lists at most."""


@dataclass(frozen=True)
class NamedMeasure:
    """A measure that a limit can name. `axis`: `group` or `domain`, None without groups."""

    name: str
    """Name in the report's tables; for a suite with its own label `again/gap/loss`."""
    better: str
    axis: str | None

    @classmethod
    def of(cls, suite: str, plugin: str, measure: str, better: str, axis: str | None) -> NamedMeasure:
        """The measure of a suite; the suite's label leads where it differs from the plugin's name."""
        return cls(measure if suite == plugin else f"{suite}/{measure}", better, axis)

    def parts(self) -> dict[str, str]:
        """Parts of the measure by spelling; empty without groups."""
        names = part_names(self.axis) if self.axis else {}
        return {part: part for part in names} | {name: part for part, name in names.items()}

    def problem(self, part: str, kind: str, group: str | None) -> str:
        """Reason why a limit makes no sense for this measure; empty if it does."""
        if group is not None and part:
            return f"say either `group` or `{part}`"
        if group is not None and self.axis is None:
            return "the measure has no groups"
        if self.better != "neither":
            return ""
        if part == "worst_group":
            return "no direction of it is better, so no group is the worst; name one with `group`"
        if kind in ("worse_by", "worse_by_share") and part != "gap":  # a smaller gap is better for any measure
            return f"no direction of it is better, so `{kind}` says nothing; use at_most or at_least"
        return ""


def part_names(axis: str) -> dict[str, str]:
    """Names of the summaries of groups (or domains), as the report prints them."""
    return {"worst_group": f"worst {axis}", "gap": f"gap of {axis}s", "mean": f"mean of {axis}s"}


def canonical(text: str) -> str:
    """`sandbox · bias, worst domain` as `sandbox/bias/worst_domain`."""
    return re.sub(r"\s*[·/:,]\s*", "/", text.strip()).replace(" ", "_")


def find(text: str, known: Sequence[NamedMeasure]) -> tuple[NamedMeasure, str] | str:
    """The measure and the part that `text` names, else an error message that lists the known measures."""
    wanted = canonical(text)
    exact = {canonical(named.name): (named, "") for named in known}
    spelt = {
        canonical(f"{named.name}/{word}"): (named, part) for named in known for word, part in named.parts().items()
    }
    # A measure's own name comes before a part of another (`odd/gap`), and both before placeholders.
    if match := (exact.get(wanted) or spelt.get(wanted) or _matching(wanted, exact) or _matching(wanted, spelt)):
        return match
    names = sorted(named.name for named in known)
    # Without a close name the hint lists all names, as the message itself does.
    close = f" {hint}" if (hint := suggestion(wanted, [*exact, *spelt])).startswith("Did") else ""
    listed = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    return f"unknown measure {text!r}.{close} Known: {listed or 'none'}."


def _matching(wanted: str, known: Mapping[str, tuple[NamedMeasure, str]]) -> tuple[NamedMeasure, str] | None:
    """First measure whose name, with placeholders (`ANY`) for parts not known before the run, fits."""
    return next((match for name, match in known.items() if fits(wanted, name)), None)


def fits(name: str, known: str) -> bool:
    """True if `name` matches `known`, where `ANY` stands for one character or more."""
    return re.fullmatch(".+".join(map(re.escape, known.split(ANY))), name) is not None


def find_group(text: str, known: Sequence[str]) -> str | None:
    """Name of the group that `text` spells with spaces or underscores; None if unknown."""
    return next((name for name in known if name == text or _plain(name) == _plain(text)), None)


def _plain(name: str) -> str:
    return name.replace("_", " ").strip()
