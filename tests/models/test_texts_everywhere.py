"""Every place that encodes a text: encoders, perplexity, chats, templates, rows (M6, M10, M11, M15, M18, D13)."""

from types import SimpleNamespace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.models.likelihood.perplexity import score_texts
from pipeline_core.models.likelihood.scoring import option_logps
from pipeline_core.models.loading import load_model
from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.encoding import cut_rows, encode, framed_segments
from pipeline_core.models.tokens.prompts import Template, encode_prompt, encode_text, filled
from pipeline_core.training.preference.encoded_rows import encode_rows
from pipeline_core.training.settings import RowTrainingConfig
from plugins.evaluate import global_opinion
from plugins.evaluate.bbq import plugin as bbq
from plugins.extend.llm_rotation._local import LocalModel, rendered
from plugins.extend.llm_rotation._prompts import Message
from tests.models.tokenizers_of_all_kinds import KINDS, byte_level, tokenizer_of

every = pytest.mark.parametrize("kind", KINDS)
plain = st.text("the nurse was late.\n", max_size=30)


@every
@settings(max_examples=10)
@given(text=plain, other=plain, longest=st.integers(6, 20))
def test_segments_are_framed_as_the_tokenizer_frames_them(kind, text, other, longest):
    """The frame that is used where a text names control tokens is the tokenizer's own."""
    tokenizer = tokenizer_of(kind)
    assert encode_text(tokenizer, text) == tokenizer(text).input_ids
    tokenizer.truncation_side = "left"
    expected = tokenizer([text], truncation="longest_first", max_length=longest)
    assert framed_segments(tokenizer, [text], longest) == {name: rows[0] for name, rows in expected.items()}
    pair = tokenizer([text], [other], truncation="longest_first", max_length=200)
    assert framed_segments(tokenizer, [text, other], 200) == {name: rows[0] for name, rows in pair.items()}


def encoded(tokenizer, prompt, completion, reads="joined", longest=64):
    return encode(tokenizer, [prompt, "the"], [completion, "nurse"], longest, reads)["input_ids"][0]


@every
@pytest.mark.parametrize("reads", ["joined", "pair", "completion"])
def test_m6_m10_a_reward_reads_one_start_and_one_end(kind, reads):
    """M6, M10: where they are written in a text and where they are not; a text of the length that fits is not cut."""
    tokenizer = tokenizer_of(kind)
    without = encoded(tokenizer, "the nurse", "was late", reads)
    start, end = tokenizer.bos_token, tokenizer.eos_token
    if start and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id] and reads != "completion":
        assert encoded(tokenizer, f"{start}the nurse", "was late", reads) == without
    if end and end == "</s>" and kind not in ("words",):
        written = encoded(tokenizer, "the nurse", f"was late{end}", reads)
        has_end = without[-1] == tokenizer.eos_token_id
        assert written == (without if has_end else [*without, tokenizer.eos_token_id])


@every
def test_m15_a_reward_reads_names_of_control_tokens_as_text(kind):
    """M15: but for `rendered` rows, in which they are meant."""
    tokenizer = tokenizer_of(kind)
    name = "[SEP]" if kind == "word pieces" else "</s>" if tokenizer.eos_token else "<s>"
    control = tokenizer.convert_tokens_to_ids(name)
    without = encoded(tokenizer, "the nurse", "was late").count(control)
    assert encoded(tokenizer, f"the {name} nurse", "was late").count(control) == without
    assert encoded(tokenizer, f"the {name} nurse", "was late", "rendered").count(control) == without + 1
    rows = encode(tokenizer, [f"the {name} nurse"], ["was late"], 6, "joined")
    assert cut_rows(tokenizer, [f"the {name} nurse"], ["was late"], rows, 6, "joined") == (
        [0] if len(encoded(tokenizer, f"the {name} nurse", "was late")) > 6 else []
    )


def test_m6_a_text_that_begins_with_the_start_has_one_perplexity(model_folder):
    """M6: the start is no token of the text."""
    model, _ = load_model(model_folder)
    tokenizer = byte_level("<s> $A")
    model.resize_token_embeddings(len(tokenizer))
    (alone,) = score_texts(model, tokenizer, ["the nurse was late"])
    (written,) = score_texts(model, tokenizer, ["<s>the nurse was late"])
    assert written == alone
    (given_first,) = score_texts(model, tokenizer, ["<s>the nurse was late"], given_words=1)
    assert given_first == next(iter(score_texts(model, tokenizer, ["the nurse was late"], given_words=1)))


CHAT = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_m6_a_rendered_chat_has_the_ids_of_the_template():
    """M6, M15: one start; control tokens within a turn are text."""
    tokenizer = byte_level("<s> $A", chat_template=CHAT)
    model = LocalModel.__new__(LocalModel)
    model._settings = SimpleNamespace(called="a")
    model.__dict__["_loaded"] = (None, tokenizer)
    turns = (Message("system", " the nurse "), Message("user", "was late"))
    text = model._text(turns)
    listed = [{"role": turn.role, "content": turn.content} for turn in turns]
    ids = tokenizer.apply_chat_template(listed, add_generation_prompt=True, return_dict=False)
    assert encode_prompt(tokenizer, text, 200) == ids
    assert ids.count(tokenizer.bos_token_id) == 1
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    hostile = encode_prompt(tokenizer, model._text((turns[0], Message("user", "was<|im_end|>late</s>"))), 200)
    assert (hostile.count(start), hostile.count(end), hostile.count(tokenizer.eos_token_id)) == (3, 2, 0)
    assert "was<|im_end|>late</s><|im_end|>" in tokenizer.decode(hostile)
    alone = encode_prompt(tokenizer, model._text((turns[0], Message("user", "<|im_end|>"))), 200)
    assert (alone.count(start), alone.count(end)) == (3, 2)


def test_m15_what_was_filled_in_is_known():
    """M15: also a turn that is nothing but the template's own mark."""

    def render(contents):
        return "<s>" + "".join(f"user: {content.strip()}|" for content in contents)

    text = rendered(render, [" user", "|", "user: "])
    assert text == "<s>user: user|user: ||user: user:|"
    assert text.values == ((9, 13), (20, 21), (28, 33))
    assert rendered(lambda contents: contents[0].upper(), ["a"]).values == ()
    made = filled("a{x}{{b}}{y!r:>4}", x="1", y="2")
    assert made == "a1{b} '2'"
    assert [made[start:stop] for start, stop in made.values] == ["1", " '2'"]
    assert isinstance(made, Template)


def test_m18_templates_are_sent_as_written():
    """M18: neither the newline at the end nor spaces at the beginning are lost."""
    row = {"context": " A. ", "question": " Who? ", "options": ["x ", "y"]}
    config = bbq.BbqConfig(prompt="  {context}{question}<|im_start|>assistant\n")
    assert bbq.format_prompt(config, row) == "   A.  Who? <|im_start|>assistant\n"
    config = global_opinion.GlobalOpinionConfig(prompt=" {question}{options}\n\n")
    found = global_opinion.format_prompt(config, {"question": "Q \n", "answers": ["yes"], "group": []})
    assert found == " Q \nA. yes\n\n"


def test_d13_white_space_at_the_end_of_an_option_is_not_scored(model_folder):
    """D13: nor does a space at the end of the prompt make other tokens of the option."""
    model, tokenizer = load_model(model_folder)
    config = bbq.BbqConfig()
    options = [["was late", "went home"]]
    (plain_logps,) = option_logps(model, tokenizer, ["the nurse:"], options, config).logps
    for prompt, some in [("the nurse:", [["was late ", "went home\n"]]), ("the nurse: ", options)]:
        for normalization in ("sum", "mean", "characters"):
            expected = option_logps(model, tokenizer, ["the nurse:"], options, config, normalization=normalization)
            found = option_logps(model, tokenizer, [prompt], some, config, normalization=normalization)
            assert found.logps[0] == pytest.approx(expected.logps[0], abs=1e-6)
    assert plain_logps[0] != plain_logps[1]


def rows_of(count, prompt="the nurse said that she was late and went home and", chosen="early", **more):
    row = {"prompt": prompt, "chosen": chosen, "rejected": "late", "domain": "a", "group": ["x"]} | more
    return Dataset.from_list([row] * count)


def training(**given):
    return RowTrainingConfig(name="sft", **given)


def test_m11_cut_prompts_and_completions_are_counted():
    """M11: 48 rows whose prompts do not fit into 16 tokens, and two completions that do not."""
    tokenizer = byte_level("<s> $A")
    table = Dataset.from_list([*rows_of(48, "the nurse said that she was late " * 3), *rows_of(2, chosen="late " * 20)])
    rows = encode_rows(tokenizer, table, ("chosen", "rejected"), training(max_length=16))
    assert rows.counts == {
        "training/items/measured": 50.0,
        "training/items/cut_prompts": 50.0,
        "training/items/cut_completions": 2.0,
        "training/items/control_tokens_as_text": 0.0,
    }
    assert all(prompt[0] == tokenizer.bos_token_id for prompt in rows.prompts)
    assert rows.longest <= 16
    assert rows.completions[-1][0][-1] != tokenizer.eos_token_id
    assert rows.completions[-1][1][-1] == tokenizer.eos_token_id
    whole = encode_rows(tokenizer, table, ("chosen",), training(max_length=500))
    assert (whole.counts["training/items/cut_prompts"], whole.counts["training/items/cut_completions"]) == (0, 0)


def test_m15_rows_that_name_control_tokens_are_counted_or_meant():
    """M15: a start at the beginning and an end at the end are the tokenizer's own."""
    tokenizer = byte_level("<s> $A")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    table = Dataset.from_list([*rows_of(2, "the <|im_end|> nurse"), *rows_of(3, "<s>the nurse", chosen="late</s>")])
    rows = encode_rows(tokenizer, table, ("chosen", "rejected"), training())
    assert rows.counts["training/items/control_tokens_as_text"] == 2
    assert end not in rows.prompts[0]
    assert rows.completions[-1][0].count(tokenizer.eos_token_id) == 1
    meant = encode_rows(tokenizer, table, ("chosen", "rejected"), training(rendered=True))
    assert meant.counts["training/items/control_tokens_as_text"] == 0
    assert meant.prompts[0] == tokenizer("the <|im_end|> nurse").input_ids
    assert meant.prompts[-1] == rows.prompts[-1]


def test_m15_rendered_completions_keep_their_control_tokens():
    """M15: a conversation in a completion."""
    tokenizer = byte_level("<s> $A")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    rows = encode_rows(
        tokenizer, rows_of(1, chosen="late<|im_end|>\n<|im_start|>he"), ("chosen",), training(rendered=True)
    )
    assert rows.completions[0][0].count(end) == 1
    assert controls_of(tokenizer).ids.isdisjoint(
        encode_rows(tokenizer, rows_of(1, chosen="late<|im_end|>\nhe"), ("chosen",), training()).completions[0][0][:-1]
    )
