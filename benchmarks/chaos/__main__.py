"""`python -m benchmarks.chaos --kills 50 --seed 1`: kills and faults while runs go on; exit code 0 if all is survived.

Every line of `--out` is JSON: a kill, a round of kills, or a fault, with its seconds and what it lost or left over.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos import checks, kills
from benchmarks.chaos.failures import LeftOver, Lost, Skipped
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.place import Place
from benchmarks.chaos.processes import until_gone
from benchmarks.chaos.undisturbed import expected_digests


class Chaos:
    """All kills and faults of one call. A home in which something was lost is left as it is; a new one takes over."""

    def __init__(self, folder: Path, seed: int, out: Path | None) -> None:
        self._folder = folder
        self._seed = seed
        self._out = out
        self._homes = 0
        self._place: Place | None = None
        self.counts = {"kills": 0, "faults": 0, "skipped": 0, "lost": 0, "left over": 0}
        self.expected: checks.Expected = {}

    def prepare(self) -> None:
        """Run without faults, for the digests that every later run must have."""
        self.expected, seconds = expected_digests(self._folder / "undisturbed")
        self.say({"undisturbed": len(self.expected), "seconds": round(seconds, 1)})

    def say(self, facts: Mapping[str, Any]) -> None:
        """Print facts as a line, and add them to the file."""
        print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
        if self._out:
            with self._out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seed": self._seed, **facts}) + "\n")

    def kill(self, number: int) -> None:
        """Rounds of kills, `number` kills together."""
        for planned in kills.plan(number, self._seed):
            name = f"round of kills {planned[0].number} to {planned[-1].number}"

            def carry_out(place: Place, planned: Sequence[kills.Kill] = planned) -> int:
                one = kills.Round(place, self.expected, self.say)
                one.carry_out(planned)
                return one.attempts

            if self._survives(name, carry_out):
                self.counts["kills"] += len(planned)

    def fault(self, name: str) -> None:
        """One fault, and the checks after it."""

        def carry_out(place: Place) -> int:
            began = time.time()
            record = FAULTS[name](place, self.expected, random.Random(f"{self._seed} {name}"))
            until_gone(place.home, checks.PROCESS_SECONDS)
            checks.completed(place, record, self.expected, {})
            return len(place.records(began))

        self.counts["faults"] += self._survives(name, carry_out)

    def _survives(self, name: str, carry_out: Callable[[Place], int]) -> bool:
        began, clock = time.monotonic(), time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        outcome: dict[str, Any] = {}
        try:
            place = self._ready()
            outcome = {"attempts": carry_out(place), "result": "survived"}
        except Skipped as error:
            outcome, self.counts["skipped"] = {"result": f"skipped: {error}"}, self.counts["skipped"] + 1
        except Exception as error:
            kind = "left over" if isinstance(error, LeftOver) else "lost"
            self.counts[kind] += 1
            words = f"{error}" if isinstance(error, (Lost, LeftOver)) else f"{type(error).__name__}: {error}"
            outcome = {"result": kind, "what": words, "home": str(self._place.home) if self._place else ""}
            self.end()
        self.say({"fault": name, "at": clock, "seconds": round(time.monotonic() - began, 1), **outcome})
        return outcome["result"] == "survived"

    def _ready(self) -> Place:
        """A place with a running stack, and an empty store."""
        if self._place is None:
            self._homes += 1
            self._place = Place(self._folder / f"home-{self._homes}")
            self._place.up()
        kills.empty(self._place)
        return self._place

    def end(self) -> None:
        """End the stack and all that goes on."""
        if self._place:
            self._place.end()
        self._place = None


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 1 if anything was lost or left over."""
    options = _options(words)
    if options.list:
        print("\n".join(FAULTS))
        return 0
    if options.two_hosts:
        from benchmarks.chaos.two_hosts import main as two_hosts

        return two_hosts([])
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="evenhand-chaos-", dir=options.folder))
    chaos = Chaos(folder, options.seed, options.out)
    try:
        chaos.prepare()
        chaos.kill(options.kills)
        for name in options.only or ([] if options.no_faults else FAULTS):
            chaos.fault(name)
    finally:
        chaos.end()
    counts, minutes = chaos.counts, (time.monotonic() - began) / 60
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    bad = counts["lost"] + counts["left over"]
    if not bad:
        shutil.rmtree(folder)
    print(
        f"{counts['kills']} kills and {counts['faults']} faults survived{skipped}, "
        f"{counts['lost']} lost, {counts['left over']} left over, {minutes:.0f} min"
    )
    return int(bad > 0)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="number of processes that are killed")
    parser.add_argument("--seed", type=int, default=1, help="decides the kinds, moments and bits")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="this fault alone; may be repeated")
    parser.add_argument("--no-faults", action="store_true", help="kills alone")
    parser.add_argument("--two-hosts", action="store_true", help="the test with two hosts instead")
    parser.add_argument("--list", action="store_true", help="list the faults")
    parser.add_argument("--out", type=Path, help="file of JSON lines to append to")
    parser.add_argument("--folder", type=Path, help="where the homes are made (default: the system's)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
