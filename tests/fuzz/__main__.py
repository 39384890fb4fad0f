"""`python -m tests.fuzz --seed 1 --minutes 60`: tries hostile input, and keeps whatever was answered wrongly.

Each case is made from a number, which is printed with a failure: `--only NUMBER` tries it again. A process of its own
tries them, so that one that kills it is a failure too and ends nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.cases import MAKERS, Case, case_of
from tests.fuzz.trial import attempt

STEP = 1_000_003
"""Between the numbers of two seeds of the script."""


def main() -> int:
    """Run the script; the exit code is 1 where something was answered wrongly."""
    options = _options()
    if options.only is not None or options.until:
        return _work(options)
    end = time.monotonic() + 60 * options.minutes
    folder = Path(options.keep or tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    first, failures, counts = options.seed * STEP, 0, collections.Counter[str]()
    while time.monotonic() < end:
        progress = folder / "progress.jsonl"
        progress.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.fuzz", "--first", str(first), "--keep", str(folder)]
        command += ["--until", str(time.time() + max(1.0, end - time.monotonic())), "--kind", options.kind]
        code = subprocess.run(command, check=False).returncode
        tried = (
            [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
            if progress.exists()
            else []
        )
        counts.update(f"{one['kind']}: exit {one['code']}" for one in tried if "code" in one)
        failures += sum(bool(one.get("wrong")) for one in tried)
        if code not in (0, 1):
            failures += 1
            print(f"the process ended with code {code} at number {tried[-1]['number'] if tried else first}", flush=True)
        first = tried[-1]["number"] + 1 if tried else first + 1
    for name, count in sorted(counts.items()):
        print(f"{count:8d}  {name}")
    print(f"{sum(counts.values())} cases from seed {options.seed}, {failures} answered wrongly; kept in {folder}")
    return int(failures > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kind", choices=["", *MAKERS], default="", help="One kind of input only.")
    parser.add_argument("--keep", help="Folder for inputs that were answered wrongly.")
    parser.add_argument("--only", type=int, help="Try one number again and show it.")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0.0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _work(options: argparse.Namespace) -> int:
    """Try numbers one after the other. What is tried is written down first: it may be the last thing that is done."""
    os.environ["EVENHAND_HOME"] = tempfile.mkdtemp(prefix="fuzz-home-")
    if options.only is not None:
        return _again(options.only, options.kind)
    keep, failures, number = Path(options.keep), 0, options.first
    with (keep / "progress.jsonl").open("a", encoding="utf-8") as progress:
        while time.time() < options.until:
            case = case_of(number, options.kind)
            progress.write(json.dumps({"number": number, "kind": case.kind}) + "\n")
            progress.flush()
            with tempfile.TemporaryDirectory(prefix="fuzz-case-") as folder:
                found = attempt(case, Path(folder))
            line = {"number": number, "kind": case.kind, "code": found.code, "wrong": found.wrong}
            progress.write(json.dumps(line) + "\n")
            if found.wrong:
                failures += 1
                _tell(number, case, found.wrong, found.said, keep)
            number += 1
    return int(failures > 0)


def _tell(number: int, case: Case, wrong: str, said: str, keep: Path) -> None:
    folder = keep / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    (folder / "case.txt").write_text(
        f"{case.arguments!r}\n{case.document!r}\n\n{wrong}\n\n{said[:20000]}\n", errors="replace"
    )
    last = wrong.strip().splitlines()[-1][:200]
    print(
        f"{number} ({case.kind}): {last}\n    again: python -m tests.fuzz --only {number}; input in {folder}",
        flush=True,
    )


def _again(number: int, kind: str) -> int:
    case = case_of(number, kind)
    with tempfile.TemporaryDirectory(prefix="fuzz-case-") as folder:
        found = attempt(case, Path(folder))
    print(case.kind, [one[:500] for one in case.arguments], repr(case.document)[:2000])
    for name, content in case.files.items():
        print(f"--- {name}: {content[:2000]!r}")
    print(f"exit {found.code} in {found.seconds:.1f} s\n{found.said[:5000]}\n{found.wrong or 'nothing wrong'}")
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
