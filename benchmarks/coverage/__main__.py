"""How often 95 % intervals hold the truth, and how often tests of models that are alike reject at .05.

    python -m benchmarks.coverage --out coverage.jsonl --processes 2   # every cell, or those still missing in the file
    python -m benchmarks.coverage --cells 'share|worst' --simulations 4000
    python -m benchmarks.coverage --out coverage.jsonl --page page.md  # writes what the file holds below `## Figures`

Every cell draws worlds whose truth is known, as many as `--simulations`, and asks the functions that reports use
(`Bootstrap`, `RelationBootstrap`). They draw fewer resamples here than in a report, from eight seeds in turn: the noise
of 500 resamples moves a coverage by about .2 points, and a run takes a quarter of the time. Cells are appended to the
file one by one, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coverage import clusters, means, relations
from benchmarks.coverage.worlds import RESAMPLES, Cell, Seen
from pipeline_core.stats.estimates import Difference

ALPHA = 0.05


@dataclass
class Counted:
    """Worlds in which the figure was defined, those whose interval holds the truth, and the others by side."""

    n: int = 0
    held: int = 0
    too_high: int = 0
    too_low: int = 0
    rejected: int = 0
    width: float = 0.0

    def add(self, seen: Seen) -> None:
        """Count one world."""
        found, slack = seen.found, 1e-9
        if found.value is None or found.low is None or found.high is None:
            return
        self.n += 1
        self.too_high += found.low > seen.truth + slack
        self.too_low += found.high < seen.truth - slack
        self.held += found.low - slack <= seen.truth <= found.high + slack
        self.width += found.high - found.low
        if isinstance(found, Difference) and found.p is not None:
            self.rejected += found.p < ALPHA


def cells() -> list[Cell]:
    """All of them."""
    kinds = (
        means.means,
        means.shares,
        means.shares_of_answers,
        means.balances,
        means.distances,
        means.groups,
        means.pair_differences,
        means.other_items,
        means.lone_clusters,
        relations.areas,
        relations.ends,
        relations.calibration,
        relations.groups,
        relations.differences,
        clusters.clustered,
        clusters.over_seeds,
    )
    return [cell for kind in kinds for cell in kind()]


def measure(place: int, simulations: int) -> dict[str, Any]:
    """Coverage of the cell at `place`."""
    cell, start = cells()[place], time.perf_counter()
    generator = np.random.default_rng(zlib.crc32(f"{cell.kind}: {cell.name}".encode()))
    counted = Counted()
    with np.errstate(all="ignore"):
        for _ in range(simulations):
            counted.add(cell.draw(generator))
    n = max(counted.n, 1)
    return {
        "kind": cell.kind,
        "name": cell.name,
        "simulations": simulations,
        "defined": counted.n,
        "coverage": 100 * counted.held / n,
        "too_high": 100 * counted.too_high / n,
        "too_low": 100 * counted.too_low / n,
        "width": counted.width / n,
        "rejected": 100 * counted.rejected / n if cell.is_null else None,
        "seconds": round(time.perf_counter() - start, 1),
    }


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown; misses are told by side. A last line counts the cells that have no row yet."""
    yield f"| figure | world | 95 % interval holds the truth | misses: above, below | rejected at {ALPHA:g} |"
    yield "|---|---|---:|---:|---:|"
    order = {(cell.kind, cell.name): place for place, cell in enumerate(cells())}
    for row in sorted(rows, key=lambda row: order.get((row["kind"], row["name"]), len(order))):
        rejected = "" if row["rejected"] is None else f"{row['rejected']:.1f} %"
        few = f" ({row['defined']:,})" if row["defined"] < 0.99 * row["simulations"] else ""
        misses = f"{row['too_high']:.1f}, {row['too_low']:.1f}"
        yield f"| {row['kind']} | {row['name']} | {row['coverage']:.1f} %{few} | {misses} | {rejected} |"
    if missing := order.keys() - {(row["kind"], row["name"]) for row in rows}:
        kinds = dict.fromkeys(kind for kind, name in order if (kind, name) in missing)
        yield ""
        yield f"{len(missing)} of {len(order)} cells are not simulated yet, of: {', '.join(kinds)}."


def write_below(page: Path, heading: str, lines: Iterator[str]) -> None:
    """Put lines below a heading, in the place of all that follows it."""
    kept, found, _ = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading!r}"
    page.write_text("\n".join([kept, heading, "", *lines, ""]), encoding="utf-8")


def main() -> None:
    """Simulate, or print what was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file that lines are appended to, and read from")
    parser.add_argument("--cells", default="", help="regular expression over `kind: name`")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--page", type=Path, help="page below whose heading `## Figures` the table of the file is put")
    given = parser.parse_args()
    known = (
        [json.loads(line) for line in given.out.read_text().splitlines()] if given.out and given.out.exists() else []
    )
    if given.page:
        write_below(given.page, "## Figures", table(known))
        return
    done = {(row["kind"], row["name"]) for row in known if row["simulations"] >= given.simulations}
    todo = [
        (place, given.simulations)
        for place, cell in enumerate(cells())
        if re.search(given.cells, f"{cell.kind}: {cell.name}") and (cell.kind, cell.name) not in done
    ]
    print(f"{len(todo)} cells, {given.simulations} worlds each, {RESAMPLES} resamples", flush=True)
    with Pool(given.processes) as pool:
        for row in pool.imap_unordered(_star, todo):
            if given.out:
                with given.out.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
            rejected = "" if row["rejected"] is None else f", rejects {row['rejected']:.1f} %"
            print(
                f"{row['kind']}: {row['name']}: {row['coverage']:.1f} % (above {row['too_high']:.1f}, below "
                f"{row['too_low']:.1f}{rejected}), width {row['width']:.3g}, n {row['defined']}, {row['seconds']} s",
                flush=True,
            )


def _star(given: tuple[int, int]) -> dict[str, Any]:
    return measure(*given)


if __name__ == "__main__":
    main()
