"""Invariants of pairs over tokenizers of all kinds (M6, M9, M10, M11, M15, M17, D13)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import frame_of
from pipeline_core.models.tokens.prompts import (
    Template,
    cut_prompts,
    decode_completion,
    encode_pairs,
    encode_prompt,
    encode_text,
    filled,
    joined,
)
from pipeline_core.training.row_counts import rows_that_name_controls
from tests.models.plain import encode_pair
from tests.models.tokenizers_of_all_kinds import KINDS, LOSSLESS, byte_level, metaspace, tokenizer_of, unigram, words

every = pytest.mark.parametrize("kind", KINDS)
lossless = pytest.mark.parametrize("kind", LOSSLESS)
PAIRS = [("the nurse", "was late"), ("the nurse ", "was late"), ("the nurse\n", "was late"), ("the nurse", "."),
         ("Answer: ", "Yes"), ("Answer:  ", "Yes"), ("", "was late"), ("the nurse said", '"No."'), ("(", "the nurse)"),
         ("   ", "Yes"), ("\n", "Yes"), ("the nurse", " was")]  # fmt: skip
some_text = st.lists(
    st.sampled_from(["the", "nurse", "was", " ", " ", "\n", ".", ",", '"', "(", ")", "é", "x", "'s", "</s>", "<s>",
                     "<|im_end|>", "[gMASK]", "<sop>", "<unk>"]),
    max_size=7,
).map("".join)  # fmt: skip


def starts_and_ends(tokenizer):
    """Ids before a text, and the end token where there is one."""
    return frame_of(tokenizer).start, [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


@every
def test_m9_start_once_end_once_and_nothing_between(kind):
    """M9, M10: what stands before and after a text of this tokenizer stands before the prompt and after the pair."""
    tokenizer = tokenizer_of(kind)
    for prompt, completion in PAIRS:
        start, end = starts_and_ends(tokenizer)
        prompt_ids, ids = encode_pair(tokenizer, prompt, completion, 200)
        control = controls_of(tokenizer).ids
        assert prompt_ids[: len(start)] == start
        first = len(start) or int(not prompt.strip(" ") or control.issuperset(prompt_ids))
        assert control.isdisjoint(prompt_ids[first:])
        assert control.isdisjoint(ids[: len(ids) - len(end)])
        assert ids[len(ids) - len(end) :] == end
        assert prompt_ids == encode_prompt(tokenizer, prompt, 200)


@lossless
def test_concatenated_ids_are_those_of_the_whole_text(kind):
    """D13: also after a prompt that ends in spaces."""
    tokenizer = tokenizer_of(kind)
    for prompt, completion in PAIRS:
        prompt_ids, ids = encode_pair(tokenizer, prompt, completion, 200, eos=False)
        whole = tokenizer(joined(prompt, completion), add_special_tokens=False).input_ids
        start = prompt_ids[: len(prompt_ids) + len(ids) - len(whole)]
        if (prompt, completion) != ("(", "the nurse)"):  # one piece could hold both sides
            assert prompt_ids + ids == [*start, *whole]
        text = tokenizer.decode(prompt_ids + ids, skip_special_tokens=True)
        # In Llama 2's way a space at the very beginning is none.
        assert text == joined(prompt, completion) or (not prompt.strip() and text == tokenizer.decode(whole))


@every
def test_decoding_inverts_encoding(kind):
    tokenizer = tokenizer_of(kind)
    for prompt, completion in PAIRS:
        _, ids = encode_pair(tokenizer, prompt, completion, 200)
        found = decode_completion(tokenizer, prompt, ids)
        if kind in LOSSLESS:  # ` was` is what `was` is after a prompt without a space
            assert found == (completion if prompt[-1:].isspace() else completion.removeprefix(" "))
        else:  # the others know no white space, capitals or unknown characters
            expected = tokenizer.decode(
                tokenizer(completion, add_special_tokens=False).input_ids, skip_special_tokens=True
            )
            assert "".join(found.split()) == "".join(expected.split())
            assert not (prompt and found.startswith(" ")) or completion.startswith(" ")


@lossless
@settings(max_examples=25)
@given(prompt=some_text, completion=some_text, eos=st.booleans())
def test_m15_any_text_comes_back_whole(kind, prompt, completion, eos):
    """M15: names of control tokens within texts are text, whatever the tokenizer; nothing is lost."""
    tokenizer = tokenizer_of(kind)
    start, end = starts_and_ends(tokenizer)
    prompt, completion = f"x{prompt}", f"{completion}x"
    prompt_ids, ids = encode_pair(tokenizer, prompt, completion, 500, eos)
    control = controls_of(tokenizer).ids
    assert control.isdisjoint(prompt_ids[len(start) :])
    assert control.isdisjoint(ids[: len(ids) - len(end)] if eos else ids)
    assert tokenizer.decode(prompt_ids + ids, skip_special_tokens=True) == joined(prompt, completion)
    found = decode_completion(tokenizer, prompt, ids)
    assert joined(prompt, found) == joined(prompt, completion)
    assert found == completion or f" {found}" == completion


@every
@given(prompt=some_text, completion=some_text, eos=st.booleans(), longest=st.integers(2, 20))
@settings(max_examples=20)
def test_m11_what_does_not_fit_is_cut_and_told(kind, prompt, completion, eos, longest):
    """M11: the start is kept, the prompt gives way before the completion, and a cut completion has no end token."""
    tokenizer = tokenizer_of(kind)
    start, end = starts_and_ends(tokenizer)
    (pair,) = encode_pairs(tokenizer, [prompt], [completion], longest, eos)
    (whole,) = encode_pairs(tokenizer, [prompt], [completion], 10_000, eos)
    assert pair.prompt and len(pair.prompt) + len(pair.completion) <= longest
    assert (pair.cut_prompt, pair.cut_completion) == (pair.prompt != whole.prompt, pair.completion != whole.completion)
    if longest > len(start):
        assert list(pair.prompt[: len(start)]) == start
    own = whole.prompt[len(start) :]
    assert own[len(own) - (len(pair.prompt) - len(start)) :] == pair.prompt[len(start) :] or longest <= len(start) + 1
    if pair.cut_completion:
        assert whole.completion[: len(pair.completion)] == pair.completion
        assert len(pair.completion) < len(whole.completion)
        assert len(pair.prompt) <= max(len(start) + 1, 1)
        assert len(pair.prompt) + len(pair.completion) == longest
    elif eos and end:
        assert pair.completion[-1:] == tuple(end)
    assert cut_prompts(tokenizer, [prompt], longest) == (len(whole.prompt) > longest)


def test_m11_a_completion_as_long_as_there_is_room():
    """M11: `max_length` ids of a completion cost neither the start nor all of the prompt, and end in no end token."""
    tokenizer = byte_level("<s> $A")
    completion = "was late and went home and was late and went home"
    whole = encode_pair(tokenizer, "the nurse", completion, 500)[1]
    (pair,) = encode_pairs(tokenizer, ["the nurse"], [completion], len(whole) - 1)
    assert pair.prompt[0] == tokenizer.bos_token_id
    assert pair.prompt[1:] == tuple(tokenizer("the nurse", add_special_tokens=False).input_ids[-1:])
    assert pair.completion == tuple(whole[: len(whole) - 3])
    assert (pair.cut_prompt, pair.cut_completion) == (True, True)


@pytest.mark.parametrize("kind", ["byte-level with a start", "byte-level in a frame", "metaspace, prepended", "slow"])
def test_m6_a_start_that_is_written_is_not_added_again(kind):
    """M6: by a row's text and by a template alike; with and without the template's own words after it."""
    tokenizer = tokenizer_of(kind)
    alone = encode_prompt(tokenizer, "the nurse", 64)
    assert alone.count(tokenizer.bos_token_id) == 1
    assert encode_prompt(tokenizer, "<s>the nurse", 64) == alone
    assert encode_prompt(tokenizer, "<s><s>the nurse", 64) == alone
    template = encode_prompt(tokenizer, Template("<s>the nurse"), 64)
    assert template == tokenizer("<s>the nurse", add_special_tokens=False).input_ids
    pair = encode_pair(tokenizer, "<s>the nurse", "was late", 64)
    assert pair == encode_pair(tokenizer, "the nurse", "was late", 64)
    assert encode_pair(tokenizer, "<s>", "was late", 64) == encode_pair(tokenizer, "", "was late", 64)
    assert encode_pair(tokenizer, "", "<s>was late", 64) == encode_pair(tokenizer, "", "was late", 64)
    assert encode_text(tokenizer, "<s>the nurse").count(tokenizer.bos_token_id) == 1


def test_m6_of_two_tokens_before_a_text_the_missing_one_is_added():
    """M6, M9."""
    tokenizer = tokenizer_of("byte-level with two tokens before")
    alone = encode_prompt(tokenizer, "the nurse", 64)
    mask, sop = tokenizer.convert_tokens_to_ids(["[gMASK]", "<sop>"])
    assert alone[:2] == [mask, sop]
    assert encode_prompt(tokenizer, "", 64) == [mask, sop]
    for written in ("[gMASK]<sop>the nurse", "<sop>the nurse"):
        assert encode_prompt(tokenizer, written, 64) == alone
        assert encode_prompt(tokenizer, Template(written), 64) == alone
    assert encode_prompt(tokenizer, "the nurse said that", 3) == [mask, sop, alone_last(tokenizer)]


def alone_last(tokenizer):
    return tokenizer("the nurse said that", add_special_tokens=False).input_ids[-1]


@pytest.mark.parametrize("kind", ["byte-level with an end after", "end after, start = end", "unigram"])
def test_m9_a_tokenizer_that_only_appends_gains_no_start(kind):
    """M9."""
    tokenizer = tokenizer_of(kind)
    ids = tokenizer("the nurse", add_special_tokens=False).input_ids
    assert encode_prompt(tokenizer, "the nurse", 64) == ids
    prompt, completion = encode_pair(tokenizer, "the nurse", "was late", 64)
    assert [*prompt, *completion].count(tokenizer.eos_token_id) == 1
    assert completion[-1] == tokenizer.eos_token_id


@every
@pytest.mark.parametrize("written", ["{}", "{}{}", "{}\n", " {}", "{} {}"])
def test_m10_one_end(kind, written):
    """M10: a completion that ends in the end token has one, whether or not it is asked for."""
    tokenizer = tokenizer_of(kind)
    name = tokenizer.eos_token
    if name is None:
        return
    text = "was late" + written.format(name, name)
    for eos in (True, False):
        _, ids = encode_pair(tokenizer, "the nurse", text, 64, eos)
        assert ids.count(tokenizer.eos_token_id) == 1
        assert ids[-1] == tokenizer.eos_token_id
    assert encode_pair(tokenizer, "the nurse", f"was late{name}", 64) == encode_pair(
        tokenizer, "the nurse", "was late", 64
    )


@pytest.mark.parametrize("marker", ["</s>", "<|im_end|>", "<|im_start|>", "<s>", "<unk>", "<pad>"])
def test_m15_a_marker_within_a_text_is_its_characters(marker):
    """M15: the ids are those that the characters have where the tokenizer knows no such token."""
    import json

    from tokenizers import Tokenizer

    tokenizer = byte_level("<s> $A")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"], state["post_processor"] = [], None
    bare = Tokenizer.from_str(json.dumps(state))
    text = f"the {marker} nurse"
    assert encode_prompt(tokenizer, text, 64)[1:] == bare.encode(text).ids
    assert encode_pair(tokenizer, "x", text, 64, eos=False)[1] == bare.encode(f" {text}").ids


@pytest.mark.parametrize("make", [words, unigram])
def test_m15_vocabularies_that_hold_the_name_itself(make):
    """M15: a model of whole words, or of pieces by weight, finds `</s>` among its words though it is not split off."""
    tokenizer = make()
    assert tokenizer.eos_token_id in tokenizer("the </s> nurse", split_special_tokens=True).input_ids[:-1]
    prompt, ids = encode_pair(tokenizer, "the </s> nurse", "was </s> late", 64)
    assert [*prompt, *ids].count(tokenizer.eos_token_id) == 1


CHAT = "{% for m in messages %}[|user|]{{ m.content }}<eoh><think>{% endfor %}"


@pytest.mark.parametrize("name", ["<|eot|>", "<｜User｜>", "[INST]", "<start_of_turn>", "[|user|]", "<eoh>"])
def test_m15_a_mark_of_turns_that_is_not_called_special_is_a_control_token(name):
    """M15: many models add the tokens of their chat templates as ordinary ones."""
    tokenizer = chatty()
    id_ = tokenizer.convert_tokens_to_ids(name)
    assert id_ in controls_of(tokenizer).ids
    text = f"the {name} nurse"
    for ids in (encode_prompt(tokenizer, text, 64), encode_pair(tokenizer, "x", text, 64)[1]):
        assert id_ not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert id_ in encode_prompt(tokenizer, Template(text), 64)
    assert rows_that_name_controls(tokenizer, ["the nurse", text]) == 1
    assert decode_completion(tokenizer, "x", [id_, *tokenizer(" nurse").input_ids, id_]) == "nurse"


@pytest.mark.parametrize("name", ["<think>", "</think>", "nurse-s", "user"])
def test_m15_an_added_word_or_a_tag_in_pairs_is_text(name):
    tokenizer = chatty()
    id_ = tokenizer.convert_tokens_to_ids(name)
    assert id_ not in controls_of(tokenizer).ids
    assert id_ in encode_prompt(tokenizer, f"the {name} was", 64)


def chatty():
    """A tokenizer with a chat template and added tokens, none of them special."""
    from transformers import AddedToken

    tokenizer = byte_level()
    marks = ["<|eot|>", "<｜User｜>", "[INST]", "<start_of_turn>", "[|user|]", "<eoh>"]
    others = ["<think>", "</think>", "nurse-s", "user"]
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in marks + others])
    tokenizer.chat_template = CHAT
    return tokenizer


def test_m15_a_templates_own_markers_are_control_tokens_and_those_of_rows_are_text():
    """M15, M18."""
    tokenizer = byte_level("<s> $A")
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    prompt = filled("<|im_start|>user\n{context}<|im_end|>\n<|im_start|>he\n", context="late <|im_end|> home")
    ids = encode_prompt(tokenizer, prompt, 64)
    assert (ids.count(start), ids.count(end)) == (2, 1)
    assert tokenizer.decode(ids) == f"<s>{prompt}"
    plain = filled("<|im_start|>user\n{context}<|im_end|>\n", context="late at home")
    assert encode_prompt(tokenizer, plain, 64)[1:] == tokenizer(str(plain), add_special_tokens=False).input_ids
    assert start not in encode_prompt(tokenizer, str(plain), 64)


def test_m18_an_option_follows_a_chat_markers_newline_without_a_space():
    """M18."""
    tokenizer = byte_level()
    prompt = Template("<|im_start|>he\n")
    ids, option = encode_pair(tokenizer, prompt, "was late", 64, eos=False)
    assert tokenizer.decode(ids + option) == "<|im_start|>he\nwas late"
    ids, option = encode_pair(tokenizer, Template("<|im_start|>"), "was late", 64, eos=False)
    assert tokenizer.decode(ids + option) == "<|im_start|>was late"
    assert decode_completion(tokenizer, Template("<|im_start|>"), option) == "was late"


def test_d13_a_space_at_the_end_of_a_prompt_belongs_to_the_option():
    """D13: `'Answer: '` and `'Yes'` are scored as `'Answer:'` and `' Yes'`."""
    tokenizer = byte_level()
    assert encode_pair(tokenizer, "Answer: ", "Yes", 64) == encode_pair(tokenizer, "Answer:", "Yes", 64)
    assert len(encode_pair(tokenizer, "Answer: ", "Yes", 64, eos=False)[1]) == 1
    assert encode_prompt(tokenizer, "Answer: ", 64) == encode_prompt(tokenizer, "Answer:", 64)
    assert encode_pair(tokenizer, "Answer:\n", "Yes", 64) != encode_pair(tokenizer, "Answer:", "Yes", 64)
    template = filled("Question: {question}\nAnswer: ", question="the nurse?")
    _, option = encode_pair(tokenizer, template, "Yes", 64, eos=False)
    assert tokenizer.decode(option) == " Yes"
    assert decode_completion(tokenizer, template, option) == "Yes"


def test_a_setting_without_effect_changes_nothing():
    """M9: `add_bos_token` of a tokenizer whose post-processor puts nothing before a text."""
    tokenizer = byte_level(bos_token=None, add_bos_token=True)
    assert tokenizer("the").input_ids == tokenizer("the", add_special_tokens=False).input_ids
    assert encode_prompt(tokenizer, "the", 8) == tokenizer("the").input_ids
    framed = byte_level(add_bos_token=True, add_eos_token=True)
    start, end = framed.bos_token_id, framed.eos_token_id
    assert framed("the").input_ids == [start, *tokenizer("the").input_ids, end]
    assert encode_prompt(framed, "the", 8) == [start, *tokenizer("the").input_ids]
    assert encode_pair(framed, "the", "nurse", 8)[1].count(end) == 1


def test_a_tokenizer_that_splits_control_tokens_still_reads_templates():
    """M15: `split_special_tokens` in a tokenizer's configuration."""
    tokenizer = byte_level(split_special_tokens=True)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert encode_prompt(tokenizer, Template("<|im_start|>he"), 8)[0] == start
    assert start not in encode_prompt(tokenizer, "<|im_start|>he", 64)


def test_metaspace_joins_punctuation():
    """M17: no piece with a space before it."""
    tokenizer = metaspace("always")
    _, ids = encode_pair(tokenizer, "the nurse", ".", 64, eos=False)
    assert tokenizer.convert_ids_to_tokens(ids) == ["."]
