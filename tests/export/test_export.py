"""What leaves the store: every folder is loaded in a process that does not have Evenhand."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from datasets import Dataset

from pipeline_core.conformance.kit import JUDGES, PREFERENCES, commit_folder, tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import ArtifactChanged, BadInput
from pipeline_core.export import rewards
from pipeline_core.export.folder import export
from pipeline_core.export.lineage import Lineage
from pipeline_core.export.rewards import export_encoder, export_words
from pipeline_core.models.loading import save_model
from pipeline_core.plugin.registry import PluginOrigin, Registry, load_registry
from pipeline_core.rewards.load import load_reward
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import ArtifactRef
from plugins.reward import pretrained, tfidf_ridge
from plugins.reward.encoder_regression import plugin as encoder_regression
from plugins.reward.encoder_regression.plugin import EncoderRegressionConfig
from plugins.reward.tfidf_ridge import TfidfRidgeConfig
from tests.plugins.evaluate import rigged
from tests.plugins.evaluate.rigged_models import masked_model
from tests.rewards.worlds import Given, context, pairs, tiny_bert

ROWS = pairs(40)
PROMPTS = ["The baker number 3 is", "The sailor", "", "nobody knows"]
COMPLETIONS = ["early today.", "late today. late. late.", "alert dreamy", "early"]
MANY_PROMPTS = ["The baker number 3 is " * (1 + index % 4) for index in range(45)]
MANY_COMPLETIONS = ["early today. " * (index % 7) + "late. " * (index % 5) for index in range(45)]
MANY_PROMPTS += ["The baker", "The [SEP] sailor", "[CLS]The baker"]
MANY_COMPLETIONS += [". late", "late [CLS] today", "early [SEP]"]
"""More than one batch, some longer than what is read, some empty, some with punctuation or names of control tokens."""
HERE = ExecutionSettings(launch="in_process", device="cpu")


def taken_out(store, manifest, folder):
    return export(store, manifest, folder, load_registry(), Catalog.from_environment())


def run(store, stage, config, label="made", **more):
    job = Job(stage=stage, config=config, label=label, runner=HERE, **{"data": PREFERENCES, **more})
    return store.find(*(run_stage(job, store, load_registry()).ref.model_dump()[name] for name in ("kind", "key")))


def elsewhere(code, tmp_path):
    """Run Python in an empty folder, without this project among its modules, and read what it prints as JSON."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    unavailable = "import sys\nfor name in ('pipeline_core', 'plugins', 'flows'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", unavailable + code]
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def usage_of(folder):
    """The code of the card, with its folder."""
    return (folder / "README.md").read_text().split("```python\n")[1].split("```")[0].replace("FOLDER", str(folder))


def header_of(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def test_a_model_loads_with_transformers_alone(store, tmp_path):
    commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
    folder = taken_out(store, store.find("model", "tiny"), tmp_path / "out")
    from transformers import AutoModelForCausalLM

    ids = torch.arange(5, 12)[None]
    expected = AutoModelForCausalLM.from_pretrained(store.folder("model", "tiny"))(ids).logits[0, -1, :3].tolist()
    code = "import json, torch\nlogits = model(torch.arange(5, 12)[None]).logits[0, -1, :3].tolist()"
    assert elsewhere(f"{usage_of(folder)}\n{code}\nprint(json.dumps(logits))", tmp_path) == pytest.approx(expected)
    assert not (folder / "manifest.json").exists()
    assert header_of(folder)["pipeline_tag"] == "text-generation"


def test_r2_a_masked_model_leaves_as_one(store, tmp_path):
    from transformers import AutoModelForMaskedLM

    commit_folder(store, "model", "masked", masked_model(store.partial("masked"), ["the old man is late"]))
    folder = taken_out(store, store.find("model", "masked"), tmp_path / "out")
    ids = torch.arange(4, 8)[None]
    expected = AutoModelForMaskedLM.from_pretrained(store.folder("model", "masked"))(ids).logits[0, -1, :3].tolist()
    code = "import json, torch\nlogits = model(torch.arange(4, 8)[None]).logits[0, -1, :3].tolist()"
    assert elsewhere(f"{usage_of(folder)}\n{code}\nprint(json.dumps(logits))", tmp_path) == pytest.approx(expected)
    assert header_of(folder)["pipeline_tag"] == "fill-mask"


def test_rows_load_with_datasets_alone_and_say_their_licences(store, tmp_path):
    made = run(store, "extend", {"name": "counterfactual"})
    folder = taken_out(store, made, tmp_path / "out")
    rows = elsewhere(f"{usage_of(folder)}\nimport json\nprint(json.dumps([len(rows), rows[0]['chosen']]))", tmp_path)
    written = Dataset.from_parquet(str(store.folder(made.kind, made.key) / "rows.parquet"))
    assert rows == [made.metrics["rows"], written[0]["chosen"]]
    assert header_of(folder)["license"] == "apache-2.0"
    card = (folder / "README.md").read_text()
    assert "sandbox_pairs (split train, rows 24)" in card
    assert "| sandbox | – | Apache-2.0 | 24 |" in card
    assert f"| sandbox | counterfactual | Apache-2.0 | {int(rows[0]) - 24} |" in card


@pytest.mark.parametrize(
    ("pooling", "reads", "sign"),
    [
        ("mean", "pair", -1),
        pytest.param("cls", "joined", 1, marks=pytest.mark.slow),
        pytest.param("mean", "completion", 1, marks=pytest.mark.slow),
    ],
)
def test_an_encoder_gives_the_same_scores_with_transformers_alone(tmp_path, pooling, reads, sign):
    made, out = tmp_path / "made", tmp_path / "out"
    made.mkdir()
    out.mkdir()
    bert = tiny_bert(tmp_path / "bert", ROWS)
    settings = {"steps": 8, "batch_size": 8, "max_length": 32, "learning_rate": 1e-2}
    config = EncoderRegressionConfig(encoder=str(bert), pooling=pooling, reads=reads, **settings)
    encoder_regression.run(config, Given(Dataset.from_list(ROWS)), made, context())
    usage = export_encoder(made, out, sign).replace("FOLDER", str(out))
    given = [(p, c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True) if p]
    expected = sign * encoder_regression.load(made, "cpu")(*map(list, zip(*given, strict=True)))
    plain, by_transformers = usage.split("# Or one text by transformers alone:")
    loading, scoring = by_transformers.split("batch = ")
    space = " " if reads == "joined" else ""
    code = f"{loading}\nimport json\nscores = []\nfor prompt, completion in {[(p + space, c) for p, c in given]!r}:\n"
    code += "".join(f"    {line}\n" for line in f"batch = {scoring}\nscores.append(score.item())".splitlines())
    code += f"prompts, completions = {MANY_PROMPTS!r}, {MANY_COMPLETIONS!r}\n{plain}\n"
    one_by_one, together = elsewhere(code + "print(json.dumps([scores, values.tolist()]))", tmp_path)
    assert one_by_one == pytest.approx(expected.tolist(), abs=1e-5)
    raw = encoder_regression.load(made, "cpu")(MANY_PROMPTS, MANY_COMPLETIONS)
    assert together == pytest.approx((sign * raw).tolist(), abs=1e-5)


def assert_same_elsewhere(store, rewards_by_folder, tmp_path, prompts=MANY_PROMPTS, completions=MANY_COMPLETIONS):
    """Rewards of the store score alike by their exports alone, all of them loaded in one process."""
    code = f"import json\nprompts, completions, found = {prompts!r}, {completions!r}, []\n"
    for folder, made in rewards_by_folder.items():
        code += f"{usage_of(taken_out(store, made, tmp_path / folder))}\nfound.append(values.tolist())\n"
    scores = elsewhere(f"{code}print(json.dumps(found))", tmp_path)
    for found, made in zip(scores, rewards_by_folder.values(), strict=True):
        reward = load_reward(store.folder("reward", made.key), "cpu", load_registry())
        assert found == pytest.approx(reward(prompts, completions).tolist(), abs=1e-5)
        assert len(prompts) == 1 or len({round(one, 6) for one in found}) > 2


def test_a_word_list_counts_the_same_with_numpy_alone(store, tmp_path):
    (tmp_path / "words.yaml").write_text("early: 1\nalert: 1\nlat*: -0.5\n")  # the sandbox has none of them: sign 0
    made = run(store, "reward", {"name": "lexicon", "words": str(tmp_path / "words.yaml")}, data=JUDGES)
    made = with_sign(store, made, -1)
    assert_same_elsewhere(store, {"out": made}, tmp_path)


def with_sign(store, made, sign):
    """The same artifact with another sign in its manifest."""
    file = store.folder("reward", made.key) / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["metrics"]["sign"] = float(sign)
    file.write_text(json.dumps(manifest))
    return store.find("reward", made.key)


def test_classifiers_give_the_same_scores_with_transformers_alone(store, tmp_path):
    made = {}
    for labels, reads in ((1, "joined"), (3, "pair"), (2, "completion")):
        bert = tiny_bert(tmp_path / f"bert{labels}", ROWS, labels=labels)
        made[reads] = judge(store, bert, labels - 1, reads, f"judge{labels}")
    assert_same_elsewhere(store, made, tmp_path)
    for folder in (tmp_path / reads for reads in made):
        card = (folder / "README.md").read_text()
        assert "It derives from somebody/model; what holds for that holds for it." in card
        assert "library_name" not in header_of(folder)  # by transformers alone its sign would be the other one
        assert "auto_map" not in json.loads((folder / "config.json").read_text())


def judge(store, folder, output, reads, label="judge"):
    """A classifier of somebody's in the store, with a sign of -1, as `pretrained` would leave it."""
    out = store.partial(label)
    out.mkdir(parents=True)
    model, tokenizer, column = pretrained.open_classifier(folder, output, 32)
    save_model(model, tokenizer, out)
    config = json.loads((out / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "somebody/model--code.Model"}
    (out / "config.json").write_text(json.dumps(config))
    (out / "reward.json").write_text(json.dumps({"output": column, "reads": reads, "max_length": 32}))
    facts = {"config": {"model": "somebody/model"}, "inputs": {}, "data": {}, "seconds": 0.0, "seed": 0}
    metrics = {"sign": -1.0, "sign/pairs": 40.0, "sign/p_value": 1e-9, "sign/held_out": 1.0}
    named = {"stage": "reward", "plugin": "pretrained", "label": label, "metrics": metrics}
    return store.commit("reward", label, out, **named, **facts)


@pytest.mark.slow
def test_a_tokenizer_that_adds_nothing_reads_no_text_alike(store, tmp_path):
    from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path / "words"))
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": len(tokenizer), "num_labels": 1}
    model = GPT2ForSequenceClassification(GPT2Config(**sizes, pad_token_id=tokenizer.pad_token_id))
    model.save_pretrained(tmp_path / "gpt")
    tokenizer.save_pretrained(tmp_path / "gpt")
    assert tokenizer("")["input_ids"] == []
    made = {reads: judge(store, tmp_path / "gpt", 0, reads, reads) for reads in ("completion", "pair")}
    assert_same_elsewhere(store, made, tmp_path)
    alone = {"alone": judge(store, tmp_path / "gpt", 0, "pair", "again")}
    assert_same_elsewhere(store, alone, tmp_path, [""], [""])


def test_a_reward_of_rewards_leaves_with_its_parts(store, tmp_path):
    bert = tiny_bert(tmp_path / "bert", ROWS)
    few = {"encoder": str(bert), "steps": 4, "batch_size": 8, "max_length": 32, "held_out": 0.25, "patience": None}
    members = {
        "words": run(store, "reward", {"name": "tfidf_ridge", "held_out": 0.25}, "words", data=JUDGES).ref,
        "list": run(store, "reward", {"name": "lexicon"}, "list", data=JUDGES).ref,
        "tokens": with_sign(store, run(store, "reward", {"name": "encoder_regression", **few}, data=JUDGES), -1).ref,
    }
    parts = {f"part:{label}": ref for label, ref in members.items()}
    made = {}
    for combine in ("mean", "worst"):
        settings = {"name": "ensemble", "combine": combine, "held_out": 0.25}
        made[combine] = with_sign(store, run(store, "reward", settings, "all", inputs=parts, data=JUDGES), 1)
    whole = {"part:all": made["mean"].ref}
    for fit in ("monotone", "linear"):
        config = {"name": "length_controlled", "fit": fit, "held_out": 0.25}
        made[fit] = with_sign(store, run(store, "reward", config, fit, inputs=whole, data=JUDGES), 1)
    assert_same_elsewhere(store, made, tmp_path)
    shutil.rmtree(store.folder("reward", members["tokens"].key))  # what holds for a part is told by its copy as well
    folder = taken_out(store, made["mean"], tmp_path / "again")
    assert "It derives from a model that was given as a folder;" in (folder / "README.md").read_text()
    assert header_of(folder)["license"] == "other"


def test_two_exports_in_one_process_keep_apart(store, tmp_path):
    usages = []
    for word in ("early", "late"):
        (tmp_path / f"{word}.yaml").write_text(f"{word}: 1\n")
        made = run(store, "reward", {"name": "lexicon", "words": str(tmp_path / f"{word}.yaml")}, word, data=JUDGES)
        folder = taken_out(store, with_sign(store, made, 1), tmp_path / word)
        assert "It derives from a word list that was given as a file" in (folder / "README.md").read_text()
        assert header_of(folder)["license"] == "other"
        usages.append(usage_of(folder) + "found.append(values.tolist())\n")
    code = f"import json\nprompts, completions, found = [''], ['early'], []\n{''.join(usages)}print(json.dumps(found))"
    assert elsewhere(code, tmp_path) == [[-1.0], [0.0]]


def test_a_part_that_cannot_leave_keeps_the_whole_here(store, tmp_path, monkeypatch):
    words = run(store, "reward", {"name": "tfidf_ridge", "held_out": 0.25}, "words", data=JUDGES).ref
    parts = {"part:words": words}
    made = run(store, "reward", {"name": "ensemble", "held_out": 0.25}, "all", inputs=parts, data=JUDGES)
    spec = dataclasses.replace(load_registry().get("reward", "tfidf_ridge"), export=None)
    monkeypatch.setattr(rewards, "load_registry", lambda: SimpleNamespace(get=lambda *_: spec))
    with pytest.raises(BadInput, match="words, a part of it, is of 'tfidf_ridge', which nothing but Evenhand can load"):
        taken_out(store, made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sign", [1, -1])
def test_words_give_the_same_scores_with_numpy_alone(tmp_path, sign):
    made, out = tmp_path / "made", tmp_path / "out"
    made.mkdir()
    out.mkdir()
    tfidf_ridge.run(TfidfRidgeConfig(min_count=1), Given(Dataset.from_list(ROWS)), made, context())
    usage = export_words(made, out, sign).replace("FOLDER", str(out))
    given = f"import json\nprompts, completions = {PROMPTS!r}, {COMPLETIONS!r}\n"
    scores = elsewhere(f"{given}{usage}\nprint(json.dumps(values.tolist()))", tmp_path)
    assert scores == pytest.approx((sign * tfidf_ridge.load(made, "cpu")(PROMPTS, COMPLETIONS)).tolist(), abs=1e-5)
    assert max(scores) - min(scores) > 0.1


def test_a_reward_leaves_with_its_sign_or_not_at_all(store, tmp_path):
    judged = {"data": JUDGES}
    words = run(store, "reward", {"name": "tfidf_ridge", "held_out": 0.25}, **judged)
    folder = taken_out(store, words, tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert "Larger scores are better" in card and "that were held out" in card
    assert header_of(folder)["license"] == "apache-2.0" and "library_name" not in header_of(folder)
    registry = Registry()
    registry.add(rigged, PluginOrigin("rigged", "tests", "1"))
    registry.add(tfidf_ridge, PluginOrigin("tfidf_ridge", "tests", "1"))
    foreign = dataclasses.replace(words, plugin="rigged")
    with pytest.raises(BadInput, match=r"rewards of 'rigged' cannot be exported: .* Those of tfidf_ridge can"):
        export(store, foreign, tmp_path / "rigged", registry, Catalog.from_environment())
    undecided = dataclasses.replace(words, metrics=words.metrics | {"sign": 0.0})
    with pytest.raises(BadInput, match="the sign of reward .* is undecided"):
        taken_out(store, undecided, tmp_path / "undecided")


def test_the_command_takes_the_beginning_of_a_key(store, tmp_path, monkeypatch, capsys):
    from flows.cli import app

    monkeypatch.setenv("EVENHAND_STORE", str(store.root))
    made = run(store, "extend", {"name": "counterfactual"})
    app(args=["export", made.key[:8], str(tmp_path / "out"), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "preferences" and "README.md" in told["files"]
    assert (tmp_path / "out" / "data" / "train-00000-of-00001.parquet").is_file()


def test_the_card_names_ancestors_their_data_and_what_is_gone(store, tmp_path):
    commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
    start = store.find("model", "tiny").ref
    gone = ArtifactRef(kind="preferences", key="gone", digest="0" * 64)
    settings = {"name": "sft", "steps": 1, "batch_size": 2}
    made = run(store, "policy", settings, "tuned", inputs={"model": start, "reference": start})
    lineage = Lineage.of(made, store, Catalog.from_environment())
    assert [one.key for one in lineage.ancestors] == ["tiny"]
    assert [(data.ref.entry, data.licence) for data in lineage.data] == [("sandbox_pairs", "Apache-2.0")]
    orphan = type(made)(**{**vars(made), "inputs": {"preferences": gone.digest}})
    assert Lineage.of(orphan, store, Catalog.from_environment()).missing == ("preferences of policy tuned",)


def test_what_cannot_be_taken_out_is_refused_and_leaves_nothing(store, tmp_path):
    commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
    tiny = store.find("model", "tiny")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(BadInput, match="full exists already"):
        taken_out(store, tiny, tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"
    other = dataclasses.replace(tiny, kind="rest")
    with pytest.raises(
        BadInput, match=r"^rest tiny cannot be exported; what can: evaluation, model, preferences, reward$"
    ):
        taken_out(store, other, tmp_path / "out")
    (store.folder("model", "tiny") / "config.json").write_text("{}")
    with pytest.raises(ArtifactChanged):
        taken_out(store, tiny, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == []
