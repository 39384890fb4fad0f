"""The same options scored by the lm-evaluation-harness, by tasks of its own: `peers/lm_eval_scoring.py SETTINGS_JSON`.

Runs in an environment of its own, so it imports nothing of Evenhand. Every line on stdin names a chunk of questions.
"""

import json
import logging
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = sys.stdout
TASK = """
task: evenhand_bbq{number}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: 0
target_delimiter: " "
metric_list: [{{metric: acc}}]
metadata: {{version: 1}}
"""


def main():
    chosen = json.loads(sys.argv[1])
    device = "cuda" if chosen["cuda"] else "cpu"
    folder, numbers = Path(chosen["folder"]), range(chosen["chunks"])
    files = [folder / f"questions{number}.jsonl" for number in numbers]
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(chosen["model"])
    model = AutoModelForCausalLM.from_pretrained(chosen["model"], dtype=torch.float32).to(device).eval()
    tasks = folder / "tasks"
    tasks.mkdir()
    for number, file in zip(numbers, files, strict=True):
        (tasks / f"task{number}.yaml").write_text(TASK.format(rows=file, number=number), encoding="utf-8")
    some = rows[:: max(1, len(rows) // 500)]
    texts = [f"{row['prompt']} {option}" for row in some for option in row["options"]]
    mean = sum(map(len, tokenizer(texts, add_special_tokens=False).input_ids)) / len(texts)
    batch = max(1, round(chosen["tokens_per_batch"] / mean))
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, device=device)
    plain, spent = lm.loglikelihood, []

    def timed(requests, *arguments, **named):
        began, began_cpu = time.perf_counter(), time.process_time()
        found = plain(requests, *arguments, **named)
        spent.append((time.perf_counter() - began, time.process_time() - began_cpu))
        return found

    lm.loglikelihood = timed
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    say({**{name: version(name) for name in ("lm_eval", "transformers", "torch")}, "rows_per_batch": batch})
    while number := sys.stdin.readline().strip():
        task, found = f"evenhand_bbq{number}", folder / f"lm_eval{number}.json"
        began = time.perf_counter()
        results = simple_evaluate(lm, tasks=[task], task_manager=manager, bootstrap_iters=0, log_samples=True)
        whole = time.perf_counter() - began
        samples = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
        found.write_text(json.dumps([[float(answer[0]) for answer in sample["filtered_resps"]] for sample in samples]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if chosen["cuda"]:
            peak = torch.cuda.max_memory_allocated() / 2**20
        seconds, cpu = spent[-1]
        say({"seconds": seconds, "whole": whole, "cpu": cpu, "peak_mib": peak, "logps": str(found)})


def say(facts):
    print(json.dumps(facts), file=OUT, flush=True)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    logging.disable(logging.WARNING)
    main()
