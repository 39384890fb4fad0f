"""One whole GRPO step, sampling and update, against TRL's GRPOTrainer: `python -m benchmarks.online_step --peer trl`.

Both are processes of their own that take a step when told to, in turn; the first two steps of each are not counted.
The same random Llama, loaded by path; float32, no dropout, no gradient checkpointing, AdamW (fused), the same prompts
of the same length, completions of fixed length, the same cheap reward. A peer gets an environment of its own, once:
`--peer trl`, `--peer "trl==1.9.*"`. `--prompt 16 --completion 32` and the like change the sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.interleaved import machine, table

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


class Worker:
    """A competitor in a process of its own."""

    def __init__(self, command: list[str], settings: dict[str, Any], threads: int) -> None:
        variables = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
            text=True,
        )
        self.ready = self._read()

    def step(self, order: str = "") -> dict[str, Any]:
        """One step; what the worker says of it. With the order `count` it says how many operations it took."""
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[0]} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


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


def environment(peer: str) -> str:
    """Python of an environment with the peer and the same torch and transformers, made at the first time.

    Where the peer does not go together with that transformers it gets the one it asks for; versions are printed.
    """
    pins = [f"torch=={torch.__version__.split('+')[0]}", f"transformers=={transformers.__version__}"]
    name = hashlib.sha256(f"{peer}{pins}".encode()).hexdigest()[:12]
    folder = Path.home() / ".cache" / "evenhand-benchmarks" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making an environment with {peer} ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*install, *pins], check=True, stdout=sys.stderr)
        wanted = [peer, "requests"]  # which trl 1.9 imports and does not ask for
        if subprocess.run([*install, *wanted, *pins], check=False, stdout=sys.stderr).returncode:
            subprocess.run([*install, *wanted, pins[0]], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return str(python)


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
