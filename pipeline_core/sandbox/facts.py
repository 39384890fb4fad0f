"""Facts of the sandbox, which a mitigation must not make a model forget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline_core.sandbox.sampling import stream
from pipeline_core.sandbox.world import read

OPTIONS = 4


def facts() -> Iterator[tuple[str, str, list[str], str, list[str]]]:
    """Relation, key, prompts (the first is the probe), answer, and every answer of the relation."""
    for relation, entry in read("facts.yaml").items():
        # sorted: the order of a set of texts differs between processes
        answers = sorted(set(entry["answers"].values()))
        for key, answer in entry["answers"].items():
            yield relation, key, [pattern.format(key=key) for pattern in entry["patterns"]], answer, answers


def choices(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_facts`: the right answer among `OPTIONS` answers of its relation."""
    rows = []
    for relation, key, prompts, answer, answers in facts():
        rng = stream(seed, "facts", relation, key)
        options = [answer, *rng.sample([other for other in answers if other != answer], OPTIONS - 1)]
        rng.shuffle(options)
        rows.append(
            {
                "id": f"fact/{relation}/{key}",
                "prompt": prompts[0],
                "options": options,
                "label": options.index(answer),
                "domain": relation,
                "source": "sandbox",
            }
        )
    return rows
