"""`python -m tests.models.architectures`: abilities of every architecture, or of some; `--write` writes the page.

`--keep FILE` holds what is finished, one architecture a line, so that a run goes on where another ended.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.models.architectures.exact import doubled
from tests.models.architectures.operations import Outcome, outcomes
from tests.models.architectures.overrides import NOT_BUILT
from tests.models.architectures.page import PAGE, write
from tests.models.architectures.tiny import INITS, kinds, model_of, tokenizer_of_bytes

Measured = dict[str, tuple[dict[str, Outcome], dict[str, Outcome]]]


def measured(kind: str) -> Measured:
    """Outcomes of a model type in float32 and in float64, by its random weights."""
    tokenizer = tokenizer_of_bytes()
    return {
        init: (
            outcomes(model_of(kind, init), tokenizer),
            outcomes(doubled(model_of(kind, init)), tokenizer, double=True),
        )
        for init in INITS
    }


def _restored(kept: dict[str, list[dict[str, Any]]]) -> Measured:
    def outcomes_of(some: dict[str, Any]) -> dict[str, Outcome]:
        return {name: Outcome(**one) for name, one in some.items()}

    return {init: (outcomes_of(single), outcomes_of(double)) for init, (single, double) in kept.items()}


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.architectures", description=__doc__)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    kept = given.keep.read_text().splitlines() if given.keep and given.keep.exists() else []
    found = {kind: _restored(some) for kind, some in map(json.loads, kept)}
    for kind in given.kinds or [kind for kind in kinds() if kind not in NOT_BUILT]:
        if kind not in found:
            try:
                found[kind] = measured(kind)
            except Exception as error:
                print(kind, f"failed: {type(error).__name__}: {error}", flush=True)
                given.write = False
                continue
            if given.keep:
                some = {
                    init: [{name: asdict(one) for name, one in each.items()} for each in both]
                    for init, both in found[kind].items()
                }
                with given.keep.open("a") as file:
                    file.write(json.dumps([kind, some]) + "\n")
        for init, both in found[kind].items():
            print(kind, init, *(f"\n  {name}: {one}" for some in both for name, one in some.items()), flush=True)
    if given.write:
        PAGE.write_text(write(found), encoding="utf-8")


if __name__ == "__main__":
    main()
