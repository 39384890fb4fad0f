"""Output of a rotation: rows, all requests with their replies, and counts of dropped replies by reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_core.augmentation.rows import write_rows
from pipeline_core.files.digests import canonical_json
from pipeline_core.plugin.types import Metrics
from plugins.extend.llm_rotation._rotation import DecidedRequest, Rotation, example_of, reasons_of

SOURCE = "llm_rotation"
FURTHER = pa.schema({"generator": pa.string(), "request": pa.int64(), "examples": pa.list_(pa.string())})
"""Extra columns: generator label, request number, and ids of all example pairs; `source_id` is the first of them."""


def write_results(rotation: Rotation, licence_of: Mapping[str, str], out: Path) -> None:
    """Write `rows.parquet`, `requests.jsonl` and `drops.json`; `licence_of` has the licence of every pair by id."""
    write_rows(_rows(rotation, licence_of), out / "rows.parquet", FURTHER)
    lines = (canonical_json(_line(decision)) + "\n" for decision in rotation.decided)
    with (out / "requests.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(lines)
    (out / "drops.json").write_text(json.dumps(_counts(rotation), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def metrics_of(rotation: Rotation) -> Metrics:
    """Numbers of rows, requests, tokens and dropped replies, in total and by generator, domain and reason."""
    counts = _counts(rotation)
    rows, requests = _accepted(rotation.decided), len(rotation.decided)
    metrics: Metrics = {
        "rows": rows,
        "rows_wanted": sum(tally.wanted for tally in rotation.planner.tallies.values()),
        "requests": requests,
        "attempts": rotation.attempts,
        "tokens": rotation.tokens,
        "dropped": requests - rows,
        "acceptance_rate": rows / requests if requests else 0.0,
    }
    metrics |= {f"dropped/{reason}": count for reason, count in counts["dropped"].items()}
    metrics |= {f"domain/{name}/rows": counted["accepted"] for name, counted in counts["domains"].items()}
    for label, counted in counts["generators"].items():
        metrics |= {f"generator/{label}/{name}": counted[name] for name in ("requests", "accepted")}
        metrics[f"generator/{label}/domains_left_out"] = len(counted["left_out"])
        metrics |= {f"generator/{label}/dropped/{reason}": count for reason, count in counted["dropped"].items()}
    return {name: float(value) for name, value in metrics.items()}


def summary(rotation: Rotation) -> str:
    """Summary for messages: rows reached, replies dropped, and the reason for the end."""
    counts = _counts(rotation)
    dropped = ", ".join(f"{reason} {count}" for reason, count in counts["dropped"].items()) or "nothing"
    lost = [decision for decision in rotation.decided if decision.verdict.reason not in (None, "surplus")]
    # `ended` may quote a reply already
    example = f" ({example_of(lost)})" if lost and '"' not in rotation.ended else ""
    tallies = rotation.planner.tallies
    wanted = sum(tally.wanted for tally in tallies.values())
    reached = ", ".join(f"{name} {tally.accepted} of {tally.wanted}" for name, tally in tallies.items())
    return (
        f"{_accepted(rotation.decided)} of {wanted} rows in {len(rotation.decided)} requests and "
        f"{rotation.tokens} tokens: {rotation.ended or 'all there'}. Of each domain: {reached}. "
        f"Dropped: {dropped}{example}"
    )


def _accepted(decided: Sequence[DecidedRequest]) -> int:
    return sum(decision.verdict.reason is None for decision in decided)


def _counts(rotation: Rotation) -> dict[str, Any]:
    tallies, decided = rotation.planner.tallies, rotation.decided
    return {
        "ended": rotation.ended,
        "dropped": dict(sorted(reasons_of(decided).items())),
        "domains": {name: {"wanted": tally.wanted, "accepted": tally.accepted} for name, tally in tallies.items()},
        "generators": {
            label: {
                "requests": len(own),
                "accepted": _accepted(own),
                "dropped": dict(sorted(reasons_of(own).items())),
                "left": member.left,
                "left_out": member.left_out,
            }
            for label, member in rotation.members.items()
            for own in [[decision for decision in decided if decision.request.generator == label]]
        },
    }


def _rows(rotation: Rotation, licence_of: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for decision in rotation.decided:
        request, (reason, pair, about) = decision.request, decision.verdict
        if reason is None and pair and about:
            shown = [seed.id for seed in request.examples]
            yield {
                "id": _id(decision),
                "prompt": pair.prompt,
                "chosen": pair.favourable,
                "rejected": pair.unfavourable,
                "domain": request.domain,
                "group": [about.group] if about.group else [],
                "source": SOURCE,
                "source_id": shown[0],
                "made_by": f"llm:{rotation.members[request.generator].settings.model_name}",
                # an SPDX expression: the row may derive from all pairs shown
                "licence": " AND ".join(sorted({licence_of[id_] for id_ in shown})),
                "generator": request.generator,
                "request": request.number,
                "examples": shown,
            }


def _id(decision: DecidedRequest) -> str:
    return f"{SOURCE}/{decision.request.number}"


def _line(decision: DecidedRequest) -> dict[str, Any]:
    request = decision.request
    return {
        "request": request.number,
        "generator": request.generator,
        "domain": request.domain,
        "about": request.about.word,
        "examples": [seed.id for seed in request.examples],
        "row": _id(decision) if decision.verdict.reason is None else None,
        "dropped": decision.verdict.reason,
        "prompt_tokens": decision.reply.prompt_tokens,
        "completion_tokens": decision.reply.completion_tokens,
        "reply": decision.reply.text,
    }
