"""`docs/models.md`: what every architecture can do, measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.models.architectures.operations import OPERATIONS, Outcome
from tests.models.architectures.overrides import NOT_BUILT
from tests.models.architectures.tiny import OWN, WIDE, kinds

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
EXACT = "exact"
REFUSED = "refused"
NOT_MEASURED = "-"
LIMITS = {"float32": 2e-5, "float64": 1e-9, "float32, own": 2e-5, "float64, own": 1e-9}
"""Nats by which a token may differ, by column: `own` are the weights that transformers itself starts with."""
Both = tuple[Mapping[str, Outcome], Mapping[str, Outcome]]
"""Outcomes in float32 and in float64."""
TOP = """# Models

Any causal language model that transformers loads can be trained, scored and sampled. Not all of them read padding,
masks, positions and caches alike: a recurrent layer takes padding on the left into its state, a hybrid model's state
cannot be handed to several completions, a window that is counted in a row cuts a tree of texts elsewhere. So each way
of running a model is tried before it is used, with a few random tokens in float64 and with a row as long as the longest
to come, beside the same rows one at a time without padding, mask or cache. Where the usual way gives other numbers the
next is taken, slower and right; where none is right the stage ends with one sentence before anything is trained.

<!-- walkthrough: instead of `python -m tests.models.architectures`, `python -m tests.models.architectures llama`,
over ten minutes -->
This page is written by `python -m tests.models.architectures --write`. It builds a tiny random model (hidden size 32,
four layers, local windows of 12 tokens) of every entry of transformers' mapping of causal language models, once
with weights of standard deviation 0.15 and once with those that transformers itself starts with (*own*), and does five
things with it, by the functions that stages use: log-probabilities and gradient of preference pairs; loss and gradient
of SFT's first step; log-likelihoods with shared beginnings and without; samples with their log-probabilities. Each
is compared with a plain pass, one sequence at a time: a token's log-probability must be within 2e-5 nats in float32 and
within 1e-9 with everything in float64. The plain pass rounds, too (by 6e-5 with a mixture of experts on one processor):
numbers farther than 2e-5 from it are compared with a pass in float64 as well, and the nearer one counts. The last
columns are the largest differences measured, a dash where none was;
the slow tests measure all of them. *{exact}* is the usual way: prompts padded on the left and run once for all their
completions, beginnings shared. A way that is another with own weights stands after *own:*. Random weights show whether
numbers are right, not whether a model is any good.

`dots3_note` and `hy_v4` keep 16 keys of a text by an indexer, whose scores may all be 0 with own weights (4 of 378
selections in dots3_note). Which of equal ones are kept depends on the shape of the batch, so sampling is off there;
with all keys kept it is exact to 2e-15. Texts shorter than `index_topk` (usually 2,048) keep all.

Versions: transformers {transformers}, torch {torch}. Model types: {built} built, {all_exact} of them exact throughout,
{falling} with another way somewhere, {refused} refused somewhere; {unbuilt} not built.
"""


@dataclass(frozen=True)
class Line:
    """A row of the page: what it says of every operation, and the largest deviations by column."""

    said: dict[str, str]
    largest: dict[str, str]

    @property
    def is_refused(self) -> bool:
        """Whether an operation is refused."""
        return any(REFUSED in said for said in self.said.values())


def words(outcome: Outcome, notes: Mapping[str, int]) -> str:
    """What the page says of an operation; `notes` number the sentences of refusals."""
    if outcome.refused:
        return f"{REFUSED} [{notes[outcome.refused]}]"
    return outcome.way or EXACT


def line(measured: Mapping[str, Both], notes: Mapping[str, int]) -> Line:
    """The row of one architecture, of its outcomes by random weights."""
    said: dict[str, str] = {}
    for name, outcome in measured[WIDE][0].items():
        wide, own = words(outcome, notes), words(measured[OWN][0][name], notes)
        said[name] = wide if wide == own else f"{wide}; own: {own}"
    each = [some for init in (WIDE, OWN) for some in measured[init]]
    return Line(said, dict(zip(LIMITS, map(_largest, each), strict=True)))


def _largest(found: Mapping[str, Outcome]) -> str:
    """The largest deviation of what was measured."""
    known = [one.deviation for one in found.values() if not one.refused]
    return f"{max(known):.0e}" if known else NOT_MEASURED


def write(found: Mapping[str, Mapping[str, Both]]) -> str:
    """The page, of the outcomes by model type and random weights."""
    import torch
    import transformers

    singles = [single for measured in found.values() for single, _ in measured.values()]
    sentences = sorted({one.refused for single in singles for one in single.values() if one.refused})
    notes = {sentence: number for number, sentence in enumerate(sentences, 1)}
    lines = {kind: line(measured, notes) for kind, measured in found.items()}
    refused = sum(one.is_refused for one in lines.values())
    exact = sum(set(one.said.values()) == {EXACT} for one in lines.values())
    top = TOP.format(
        exact=EXACT,
        transformers=transformers.__version__,
        torch=torch.__version__.partition("+")[0],
        built=len(lines),
        all_exact=exact,
        falling=len(lines) - exact - refused,
        refused=refused,
        unbuilt=len(NOT_BUILT),
    )
    head = ["model type", "class", *OPERATIONS, *LIMITS]
    rows = [
        [kind, kinds()[kind], *(lines[kind].said[name] for name in OPERATIONS), *lines[kind].largest.values()]
        for kind in sorted(lines)
    ]
    parts = [top, _table([head, *rows])]
    if notes:
        parts.append("## Refused\n\n" + "\n".join(f"{number}. {sentence}" for sentence, number in notes.items()) + "\n")
    unbuilt = [["model type", "reason"], *([kind, reason] for kind, reason in sorted(NOT_BUILT.items()))]
    parts.append("## Not built\n\n" + _table(unbuilt))
    return "\n".join(parts)


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def read() -> dict[str, Line]:
    """The rows of the page as it stands, by model type."""
    text = PAGE.read_text(encoding="utf-8").partition("## Not built")[0].partition("## Refused")[0]
    found: dict[str, Line] = {}
    head, *rows = (row.split(" | ") for row in re.findall(r"^\| (.+) \|$", text, re.M))
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        largest = {name: cells.get(name, NOT_MEASURED) for name in LIMITS}
        found[cells["model type"]] = Line({name: cells[name] for name in OPERATIONS}, largest)
    return found


def version() -> str:
    """The version of transformers that the page names."""
    named = re.search(r"transformers (\d[\w.]*\w)", PAGE.read_text(encoding="utf-8")) if PAGE.exists() else None
    return named[1] if named else ""
