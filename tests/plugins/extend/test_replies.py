"""Reading pairs out of replies: strict forms, careless ones, and anything at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.extend.llm_rotation._replies import parse, refuses

TEXTS = ("The nurse came in.", "She knew the answer.", "She was late again.")
AS_JSON = json.dumps({"prompt": TEXTS[0], "favourable": TEXTS[1], "unfavourable": TEXTS[2]})
AS_LINES = "Prompt: {}\nFavourable: {}\nUnfavourable: {}".format(*TEXTS)


@pytest.mark.parametrize(
    "reply",
    [
        AS_JSON,
        f"```json\n{AS_JSON}\n```",
        f"Sure! Here is one {{as asked}}:\n{AS_JSON}\nTell me if you need more.",
        json.dumps([json.loads(AS_JSON), {"prompt": "x"}]),
        json.dumps({"pair": "below"}) + AS_JSON,
        AS_JSON.replace("favourable", "favorable").replace('"prompt"', '"Prompt"'),
        AS_LINES,
        AS_LINES.replace("\n", " "),
        AS_LINES.upper().replace(TEXTS[0].upper(), TEXTS[0]).replace(TEXTS[1].upper(), TEXTS[1]).replace(
            TEXTS[2].upper(), TEXTS[2]),
        "**Prompt:** {}\n**Favorable**: {}\n- *Unfavorable:* \"{}\"".format(*TEXTS),
        f"{AS_LINES}\n\nAbout: the next\nPrompt: Another.\nFavourable: a\nUnfavourable: b",
        f"{AS_LINES}\n\nI hope that this helps.",
        AS_JSON.replace("}", ",}"),
    ],
)  # fmt: skip
def test_a_pair_is_read_from_every_form(reply):
    assert parse(reply) == TEXTS


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "{",
        "Prompt: only this",
        "Prompt: a\nFavourable: b\nUnfavourable:   ",
        json.dumps({"prompt": "a", "favourable": "b"}),
        json.dumps({"prompt": "a", "favourable": "b", "unfavourable": 3}),
        json.dumps({"prompt": "a", "favourable": ["b"], "unfavourable": "c"}),
        '{"prompt": "a", "prompt": "d", "favourable": "b", "unfavourable": "c"}',  # D15: which one is meant?
        '{"prompt": "a", "favourable": "b", "unfavourable": "c", "Unfavorable": "d"}',
        "[" * 100_000,
        "{" * 3_000,
    ],
)
def test_anything_else_is_no_pair(reply):
    assert parse(reply) is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I cannot help with that.", True),
        ("I can’t write this.", True),
        ("As an AI language model I do not", True),
        ("Unfortunately, I am not able to fulfil this request.", True),
        ("Sorry, I can't assist.", True),
        ("I won't write such a pair.", True),
        ("I am not comfortable with writing prejudiced text", True),
        ("I cannot find my glasses, said the judge? ", False),
        ("I can't wait to hear his stories.", False),
        ("I can't help but admire her.", False),
        ("I am sorry for his loss.", False),
        ("I will not forget her kindness.", False),
        ("She is sorry that she cannot come.", False),
        ("As an aide to the minister he", False),
        (AS_LINES, False),
    ],
)
def test_refusals_are_told_by_how_they_begin(text, refused):
    assert refuses(text) is refused


PLAIN = st.text(st.sampled_from("abc XYZ äß漢'.,?-0"), min_size=1, max_size=40).map(lambda text: f"w{text}w")


@given(PLAIN, PLAIN, PLAIN, st.sampled_from(["json", "fenced", "lines", "one line"]), st.sampled_from(["", "Well. "]))
def test_what_was_written_is_what_is_read(prompt, good, bad, form, before):
    written = {"prompt": prompt, "favourable": good, "unfavourable": bad}
    lines = [f"{name.capitalize()}: {text}" for name, text in written.items()]
    reply = {
        "json": json.dumps(written),
        "fenced": f"```\n{json.dumps(written, indent=1)}\n```",
        "lines": "\n".join(lines),
        "one line": " ".join(lines),
    }[form]
    assert parse(before + reply) == tuple(" ".join(text.split()) for text in (prompt, good, bad))


PIECES = st.sampled_from(
    ["prompt", "favourable", "unfavorable", ":", '"', "{", "}", ",", "\n", "\n\n", "*", "```", "\\ud800"]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=25).map("".join))
def test_any_text_gives_a_whole_pair_or_none(reply):
    pair = parse(reply)
    if pair is not None:
        assert all(text and text == " ".join(text.split()) for text in pair)
        assert all(text.encode() for text in pair)


KEYS = ("prompt", "favourable", "unfavourable")
DRAFT = ("The nurse is a draft.", "This one is rejected.", "So is this one.")
DRAFTS = [
    json.dumps(dict(zip(KEYS, DRAFT, strict=True))),
    "Prompt: {}\nFavourable: {}\nUnfavourable: {}".format(*DRAFT),
]


@pytest.mark.parametrize("before", ["", "```json\n", "Sure, here it is:\n", "{"])
@pytest.mark.parametrize("indent", [None, 1])
def test_d1_an_object_cut_anywhere_is_no_pair(before, indent):
    """D1: keys of an object that is cut short look like labels, and the last text is cut in the middle of a word."""
    whole = json.dumps(dict(zip(KEYS, TEXTS, strict=True)), indent=indent)
    assert parse(whole) == TEXTS
    for end in range(len(whole)):
        assert parse(before + whole[:end]) is None, whole[:end]
        assert parse(before + whole[1:end]) is None, "the brace stood in the question"
        assert parse((before + whole[:end]).replace('"', "'")) is None
        assert parse(before + "domain: age, " + whole[:end]) is None


@pytest.mark.parametrize("quote", ['"', "“"])
def test_d1_a_labelled_text_whose_quote_never_closes_is_cut_short(quote):
    assert parse(AS_LINES.replace("She was", f"{quote}She was")) is None
    closed = AS_LINES.replace(TEXTS[2], '"I was," she said, "never late."')
    assert parse(closed) == (*TEXTS[:2], '"I was," she said, "never late."')


OPENED = [
    ("<think>", "</think>"), ("<think>\n", "\n</think>\n\n"), ("<thinking>", "</thinking>"), ("<THINK>", "</Think >"),
    ("<reasoning>", "</reasoning>"), ("<thought>", "</thought>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"), ("<think budget=3>", "</think>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|channel|>final <|constrain|>json<|message|>"),
]  # fmt: skip


@pytest.mark.parametrize(("opens", "closes"), OPENED)
@pytest.mark.parametrize("draft", DRAFTS)
def test_d2_the_answer_counts_and_not_a_draft_in_the_reasoning(opens, closes, draft):
    """D2: whatever stands before the end of the reasoning is no answer, and reasoning without end has none."""
    for answer in (AS_JSON, AS_LINES, f"```json\n{AS_JSON}\n```"):
        assert parse(f"{opens}{draft}{closes}{answer}") == TEXTS
        assert parse(f"{opens}{draft}{closes}{opens}{draft}{closes}{answer}") == TEXTS
        assert parse(f"{opens}{draft}{answer}") is None
        assert parse(f"{opens}{draft}{closes}{answer}{opens}{draft}") is None, "it begins to think again"
        if "channel" not in opens:
            assert parse(f"{draft}{closes}{answer}") == TEXTS, "the template has opened it in the question"
    assert parse(f"{opens}{draft}{closes}") is None


@pytest.mark.parametrize(
    "marker",
    [
        "<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>",
        "<|eom_id|>", "<|im_start|>user", "<start_of_turn>user", "<|start_header_id|>user<|end_header_id|>",
        "[INST]", "<|user|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<turn|>",
        "<eos>", "<|return|>", "<|assistant|>",
    ],
)  # fmt: skip
def test_d2_a_reply_ends_at_the_marker_of_its_turn(marker):
    for answer in (AS_JSON, AS_LINES):
        assert parse(f"{answer}{marker}") == TEXTS
        assert parse(f"{answer} {marker}\nand so on {DRAFTS[1]}") == TEXTS
        assert parse(f"{AS_LINES[:-5]}{marker} of yours") == (*TEXTS[:2], TEXTS[2][:-5].strip())


@pytest.mark.parametrize(
    "begins", ["<|im_start|>assistant\n", "<|assistant|>\n", "<s>", "<start_of_turn>model\n", "<s><s> "]
)
def test_d2_a_marker_at_the_beginning_is_passed_over(begins):
    assert parse(begins + AS_JSON) == parse(begins + AS_LINES + "</s>") == TEXTS
    assert parse(f"{begins}<think>{DRAFTS[0]}</think>{AS_JSON}") == TEXTS


def test_d2_what_looks_like_no_marker_stays():
    texts = ("The nurse <b>came</b> in | out.", "a < b and c > d", "I thought [sic] that.")
    assert parse(json.dumps(dict(zip(KEYS, texts, strict=True)))) == texts


@pytest.mark.parametrize(
    "text", ["She\x00 was late again.", "She was\x00late again.", "She was \ud800late again.\udfff"]
)
def test_d14_characters_that_cannot_be_stored_are_left_out(text):
    written = json.dumps(dict(zip(KEYS, (*TEXTS[:2], text), strict=True)))
    for reply in (written, AS_LINES.replace(TEXTS[2], text)):
        assert parse(reply) == TEXTS


@pytest.mark.parametrize(
    "piece",
    [
        '{"a":',
        '{"',
        "[",
        "{",
        '{"prompt": "',
        "Prompt: ",
        "<think>",
        "</think>",
        "<|im_end|>",
        "“",
        '"prompt":',
        "I can't ",
    ],
)
@pytest.mark.parametrize("length", [19_900, 4_000_000])
def test_d14_a_very_long_reply_is_no_pair_and_takes_no_time(piece, length):
    """D14: reading grows with the length; a quadratic one would not end."""
    assert parse(piece * (length // len(piece))) is None
