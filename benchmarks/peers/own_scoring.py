"""BBQ's options scored by Evenhand's engine, a chunk for every line on stdin: `own_scoring.py SETTINGS_JSON`."""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from pipeline_core.models.likelihood.scoring import score_completions
from pipeline_core.models.loading import load_model

OUT = sys.stdout


def main() -> None:
    """Rounds until stdin ends."""
    chosen = json.loads(sys.argv[1])
    model, tokenizer = load_model(Path(chosen["model"]), "cuda" if chosen["cuda"] else "cpu", "float32")
    folder = Path(chosen["folder"])
    _say({package: version(package) for package in ("transformers", "torch")})
    while number := sys.stdin.readline().strip():
        lines = (folder / f"questions{number}.jsonl").read_text(encoding="utf-8").splitlines()
        rows, found = [json.loads(line) for line in lines], folder / f"evenhand{number}.json"
        began, began_cpu = time.perf_counter(), time.process_time()
        prompts = [row["prompt"] for row in rows for _ in row["options"]]
        options = [option for row in rows for option in row["options"]]
        scored = score_completions(model, tokenizer, prompts, options, tokens_per_batch=chosen["tokens_per_batch"])
        logps_N3 = scored.logps.view(len(rows), -1)
        logps_N3.argmax(1).tolist()
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        found.write_text(json.dumps(logps_N3.tolist()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if chosen["cuda"]:
            peak = torch.cuda.max_memory_allocated() / 2**20
        _say({"seconds": seconds, "whole": seconds, "cpu": cpu, "peak_mib": peak, "logps": str(found)})


def _say(facts: dict[str, object]) -> None:
    print(json.dumps(facts), file=OUT, flush=True)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
