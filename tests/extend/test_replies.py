"""Reading pairs out of replies: strict forms, careless ones, and anything at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.generation.replies import parse, refuses

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
        AS_JSON.replace("}", ","),
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
