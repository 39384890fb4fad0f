"""Memory and time of a mix by its number of rows, each in a process of its own.

Two parts of generated rows, a tenth of them near-duplicates, against a set of 2,000 generated prompts. Peak memory is
the process's own (anonymous) memory: pages of mapped files can be given back at any time and are shown apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.interleaved import machine

SIZES = (10_000, 100_000)
DOMAINS = [f"domain{number}" for number in range(11)]
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
ITEMS = 2_000


def words(rng: np.random.Generator, count: int) -> str:
    """Made-up words of two or three syllables."""
    return " ".join("".join(rng.choice(SYLLABLES, rng.integers(2, 4))) for _ in range(count))


def rows(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Preference rows; every tenth repeats the one before it with one word more."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([words(rng, 1) for _ in range(4000)])
    before: dict[str, object] = {}
    for number in range(count):
        texts = [" ".join(vocabulary[rng.integers(0, len(vocabulary), size)]) for size in (20, 15, 15)]
        row = dict(zip(("prompt", "chosen", "rejected"), texts, strict=True))
        if number % 10 == 9:
            row = {**before, "chosen": f"{before['chosen']} indeed"}
        domain = DOMAINS[number % len(DOMAINS)]
        before = row
        yield {"id": f"{seed}-{number}", "domain": domain, "group": [f"group{number % 50}"], "label": 0.5, **row}


class Watch:
    """Largest anonymous memory of this process, looked at twenty times a second."""

    def __enter__(self) -> Watch:
        self.anonymous = 0
        self._going = True
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self._thread.join()

    def _look(self) -> None:
        while self._going:
            self.anonymous = max(self.anonymous, status("RssAnon"))
            time.sleep(0.05)


def status(name: str) -> int:
    """A figure of /proc/self/status in KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def mix(folder: Path, count: int) -> dict[str, float]:
    """Mix parts of `count` rows together, and measure this process."""
    from datasets import Dataset

    from pipeline_core.data.refs import DataRef
    from pipeline_core.data.tables import open_table
    from plugins.extend.mix.plugin import MixConfig, run

    items = Dataset.from_list([{"id": row["id"], "prompt": row["prompt"]} for row in rows(ITEMS, 7)])
    inputs = SimpleNamespace(
        parts={name: open_table(folder / f"{name}.parquet") for name in ("one", "two")},
        data_ref=None,
        catalog=SimpleNamespace(entry=lambda _: SimpleNamespace(rows="prompt"), load=lambda _: items),
    )
    context = SimpleNamespace(seed=0, device="cpu", is_main=True)
    config = MixConfig(against=(DataRef(entry="prompts"),), take={"two": count // 3})
    start_anonymous, start = status("RssAnon"), time.monotonic()
    with Watch() as watch:
        metrics = run(config, inputs, folder, context)
    seconds = time.monotonic() - start
    mib = {"start": start_anonymous / 1024, "anonymous": watch.anonymous / 1024, "peak": status("VmHWM") / 1024}
    return {"rows": count, "kept": metrics["rows"], "seconds": seconds, "cpu": time.process_time(), **mib}


def measured(count: int) -> dict[str, float]:
    """The figures of one size; its parts are written by another process, so that they leave no memory behind."""
    with tempfile.TemporaryDirectory() as folder:
        for step in ("write", "mix"):
            command = [sys.executable, "-m", "benchmarks.mix_memory", step, folder, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures


def write(folder: Path, count: int) -> None:
    """The two parts."""
    from pipeline_core.augmentation.rows import write_rows

    for seed, name in enumerate(("one", "two")):
        write_rows(rows(count // 2, seed), folder / f"{name}.parquet")


def main(sizes: list[int]) -> None:
    """Print the table."""
    print(machine())
    print("| rows | kept | seconds | CPU seconds | rows/s | MiB at start | MiB at most | with mapped files |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    found = []
    for size in sizes:
        f = measured(size)
        found.append(f)
        times = (f"{f['seconds']:.1f}", f"{f['cpu']:.1f}", f"{size / f['seconds']:,.0f}")
        memory = (f"{f[name]:.0f}" for name in ("start", "anonymous", "peak"))
        print("| " + " | ".join((f"{size:,}", f"{f['kept']:,.0f}", *times, *memory)) + " |", flush=True)
    first, last = found[0], found[-1]
    more = (last["anonymous"] - first["anonymous"]) * 2**20 / (last["rows"] - first["rows"])
    ratio = last["anonymous"] / first["anonymous"]
    print(
        f"{last['rows'] / first['rows']:.0f} times the rows, {ratio:.2f} times the memory: {more:.0f} bytes a row more"
    )


if __name__ == "__main__":
    if sys.argv[1:2] in (["write"], ["mix"]):
        step, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
        if step == "write":
            write(folder, count)
        else:
            print(json.dumps(mix(folder, count)))
    else:
        main([int(word) for word in sys.argv[1:]] or list(SIZES))
