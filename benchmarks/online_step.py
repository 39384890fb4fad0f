"""One whole GRPO step, sampling and update, against TRL's GRPOTrainer: `python -m benchmarks.online_step --peer trl`.

Both are processes of their own that take a step when told to, in turn; the first two steps of each are not counted.
The same random Llama, loaded by path; float32, no dropout, no gradient checkpointing, AdamW (fused), the same prompts
of the same length, completions of fixed length, the same cheap reward. A peer gets an environment of its own, once:
`--peer trl`, `--peer "trl==1.9.*"`. `--prompt 16 --completion 32` and the like change the sizes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.interleaved import machine, table
from benchmarks.workers import Worker, environment

WARM_UP = 2
PEER = Path(__file__).parent / "peers" / "trl_grpo.py"


def main() -> None:
    """Print the tables."""
    chosen = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", chosen)
        settings = {
            **{name: getattr(chosen, name) for name in ("prompts_per_step", "samples", "completion", "prompt", "beta")},
            "model": str(model),
            "folder": str(Path(folder) / "out"),
            "steps": WARM_UP + chosen.rounds + 2,
            "cuda": chosen.cuda,
            "prompts": prompts(chosen.prompts_per_step * (WARM_UP + chosen.rounds + 2), chosen.prompt),
        }
        workers = {"evenhand": Worker([sys.executable, "-m", "benchmarks.peers.own_grpo"], settings, chosen.threads)}
        if chosen.peer:
            workers[chosen.peer] = Worker([environment(chosen.peer), str(PEER)], settings, chosen.threads)
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        last: dict[str, Any] = {}
        for number in range(WARM_UP + chosen.rounds):
            for name, worker in workers.items():
                last[name] = worker.step()
                if number >= WARM_UP:
                    seconds[name].append(last[name]["seconds"])
        counted = {name: worker.step("count") for name, worker in workers.items()}
        for worker in workers.values():
            worker.close()
    print(machine())
    for name, worker in workers.items():
        print(f"{name}: {worker.ready}")
    _report(chosen, seconds, last)
    for name, facts in counted.items():
        print(f"{name}: {facts['flops'] / 1e9:.0f} GFLOP a step, in matrix products and attention")


def _report(chosen: argparse.Namespace, seconds: dict[str, list[float]], last: dict[str, Any]) -> None:
    size = f"hidden {chosen.hidden}, {chosen.layers} layers, vocabulary {chosen.vocabulary}"
    work = f"{chosen.prompts_per_step} x {chosen.samples}, prompt {chosen.prompt}, completion {chosen.completion}"
    print(table(f"GRPO step: {size}; {work}, beta {chosen.beta}", seconds))
    parts = {name: round(value, 3) for name, value in last["evenhand"]["parts"].items()}
    print(f"last step of evenhand, seconds by part: {parts}")
    for name, facts in last.items():
        print(f"{name}: peak memory {facts['peak_mib']:.0f} MiB")


def make_model(folder: Path, chosen: argparse.Namespace) -> Path:
    """A random Llama with a tokenizer of whole words, as a Hugging Face folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<end>": 1, **{f"w{number}": number + 2 for number in range(chosen.vocabulary - 2)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=chosen.vocabulary,
        hidden_size=chosen.hidden,
        intermediate_size=chosen.hidden * 8 // 3 // 8 * 8,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.hidden // 64,
        num_key_value_heads=chosen.hidden // 64,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(count: int, words: int) -> list[str]:
    """Different prompts of so many tokens."""
    drawn = random.Random(0)
    return [" ".join(f"w{drawn.randrange(1000)}" for _ in range(words)) for _ in range(count)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cuda", action="store_true")
    for name, default in (
        ("hidden", 256),
        ("layers", 4),
        ("vocabulary", 16384),
        ("prompts-per-step", 8),
        ("samples", 8),
        ("prompt", 96),
        ("completion", 48),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--beta", type=float, default=0.04)
    return parser.parse_args()


if __name__ == "__main__":
    main()
