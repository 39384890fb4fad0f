import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.models.loading import load_tokenizer
from pipeline_core.models.tokens.prompts import border, decode_completion, encode_pairs, encode_prompt, pad
from tests.models.plain import encode_pair
from tests.training.tiny import WORDS


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return load_tokenizer(model_folder)


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("He is", "late", " late"),
        ("He is ", "late", "late"),
        ("He is", " late", " late"),
        ("", "late", "late"),
        ("Hi\n", "a", "a"),
        *(
            (("Hi", mark, mark))
            for mark in [".", ",", ";", ":", "!", "?", "...", "…", "%", ")", "]", "}", "”", "’", "»"]
        ),
        *(("你好", mark, mark) for mark in "。，、！？；：」』）】》"),
        ("Hi", ", he said", ", he said"),
        ("Hi", ").", ")."),
        ("the nurse", "'s bag", "'s bag"),
        ("they", "'LL go", "'LL go"),
        ("the nurse", "’s bag", "’s bag"),
        ("he said", "'no' to it", " 'no' to it"),
        ("he said", "'s' to it", " 's' to it"),
        ("he said", '"No."', ' "No."'),
        ('he said "no', '"', '"'),
        ('he said "no', '" and left', '" and left'),
        ('he said "no', '", and left', '", and left'),
        ('he said "', "no", "no"),
        ('"', "no", "no"),
        ('he said "no"', "and left", " and left"),
        ("see (", "below)", "below)"),
        ("he said “", "no”", "no”"),
        ("he said", "“no”", " “no”"),
        ("see", "(below)", " (below)"),
        ("it costs", ".5 dollars", " .5 dollars"),
        ("it costs", "$5", " $5"),
        ("he left", "- late", " - late"),
        ("he left", "— late", " — late"),
        ("¿", "Qué", "Qué"),
        ("他说", "你好", "你好"),
        ("他说：", "你好", "你好"),
        ("안녕", "하세요", " 하세요"),
        ("he said", "你好", " 你好"),
        ("Hi", "", ""),
        ("", ".", "."),
        ("Hi", ". ", ". "),
        ("क", "ा", "ा"),
        ("e", "\u0301", "\u0301"),
        ("Hi", "\u200d", "\u200d"),
        ("👩\u200d", "👩", "👩"),
        ("👍", "🏽", "🏽"),
        ("☎", "\ufe0f", "\ufe0f"),
        ("and/", "or", "or"),
        ("and", "/or", "/or"),
        ("yes /", "no", " no"),
        ("yes", "/ no", " / no"),
        ("see", "/etc/hosts", " /etc/hosts"),
        ("„Hallo", "“ sagte er", "“ sagte er"),
        ("„Hallo“", "sagte er", " sagte er"),
        ("er sagte", "„Hallo“", " „Hallo“"),
        ("er sagte „", "Hallo", "Hallo"),
        ("»Hallo", "« sagte er", "« sagte er"),
        ("er sagte »", "Hallo", "Hallo"),
        ("er sagte", "»Hallo«", " »Hallo«"),
        ("il dit «", "bon", "bon"),
        ("hon sade ”", "Hej", "Hej"),
        ("hon sade", "”Hej”", " ”Hej”"),
        ("‚ja", "‘", "‘"),
        ("the boys’", "car", " car"),
        ("“It’s", "” he said", "” he said"),
        ("สวัสดี", "ครับ", "ครับ"),
        ("ສະບາຍ", "ດີ", "ດີ"),
        ("ខ្មែរ", "ភាសា", "ភាសា"),
        ("မြန်မာ", "စာ", "စာ"),
        ("བོད་", "ཡིག", "ཡིག"),
        ("สวัสดี", "Thai", " Thai"),
    ],
)
def test_m17_one_space_at_the_border_where_words_meet(prompt, completion, expected):
    """M17."""
    assert border(prompt, completion) == expected


@given(prompt=st.text(max_size=4), completion=st.text(max_size=4))
def test_m17_at_most_one_space_is_added(prompt, completion):
    """M17: and none where one side brings white space or is empty; sampled text is what a row would hold."""
    found = border(prompt, completion)
    assert found in (completion, f" {completion}")
    if not prompt or not completion or prompt[-1].isspace() or completion[0].isspace():
        assert found == completion


def test_pair_is_tokenised_apart_and_ends(tokenizer):
    prompt, completion = encode_pair(tokenizer, "the nurse", "was late", 64)
    assert tokenizer.decode(prompt) == "the nurse"
    assert tokenizer.decode(completion) == " was late<end>"
    assert encode_pair(tokenizer, "the nurse", "was late", 64, eos=False)[1] == completion[:-1]


def test_prompt_is_cut_from_the_left_and_the_completion_last(tokenizer):
    prompt, completion = encode_pair(tokenizer, "the nurse said that", "was late", 64)
    assert encode_pair(tokenizer, "the nurse said that", "was late", len(completion) + 2)[0] == prompt[-2:]
    short = encode_pair(tokenizer, "the nurse said that", "was late", 2)
    assert short == (prompt[-1:], completion[:1])
    with pytest.raises(BadInput, match="max_length"):
        encode_pair(tokenizer, "a", "b", 1)


def test_empty_prompt_is_the_end_token(tokenizer):
    assert encode_prompt(tokenizer, "", 8) == [tokenizer.eos_token_id]


def test_start_token_survives_the_cut(tokenizer):
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    raw = tokenizer.backend_tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    raw.post_processor = TemplateProcessing(single="<end> $A", special_tokens=[("<end>", 0)])
    starting = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<end>", eos_token="<end>", pad_token="<pad>")
    ids = encode_prompt(starting, "the nurse said that", 3)
    assert ids == [0, *starting("the nurse said that", add_special_tokens=False).input_ids[-2:]]
    assert 0 not in encode_pair(starting, "the nurse", "was late", 64, eos=False)[1]


@given(prompt=st.text(max_size=20), completion=st.text(max_size=20), longest=st.integers(2, 40))
def test_any_text_fits_and_short_text_comes_back(tokenizer, prompt, completion, longest):
    prompt_ids, ids = encode_pair(tokenizer, prompt, completion, longest)
    assert len(prompt_ids) >= 1
    assert len(prompt_ids) + len(ids) <= longest
    _, whole = encode_pair(tokenizer, prompt, completion, 1000)
    if prompt and completion and not completion.startswith(" "):
        assert decode_completion(tokenizer, prompt, whole) == completion


def marking(kind):
    """A tokenizer in Llama 2's way: `prepend` as its normaliser, else the scheme of a Metaspace pre-tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special, spread = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special + spread, show_progress=False)
    raw.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    state = json.loads(raw.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    raw = Tokenizer.from_str(json.dumps(state))
    if kind == "prepend":
        raw.pre_tokenizer = None
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    raw.decoder = decoders.Sequence(parts)
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("kind", ["prepend", "always", "first"])
@pytest.mark.parametrize(
    ("prompt", "completion"),
    [("the nurse", "was late"), ("the nurse ", "was late"), ("the nurse\n", "was late"), ("the nurse\n", " was late"),
     ("the nurse,", "xyz")],
)  # fmt: skip
def test_a_completion_has_the_ids_it_has_after_its_prompt(kind, prompt, completion):
    tokenizer = marking(kind)
    prompt_ids, ids = encode_pair(tokenizer, prompt, completion, 64, eos=False)
    together = tokenizer(prompt + border(prompt, completion), add_special_tokens=False).input_ids
    assert prompt_ids + ids == together
    assert tokenizer.decode(prompt_ids + ids) == prompt + border(prompt, completion)
    assert decode_completion(tokenizer, prompt, ids) == completion


def test_without_a_prompt_a_completion_is_a_beginning():
    tokenizer = marking("prepend")
    _, ids = encode_pair(tokenizer, "", "was late", 64, eos=False)
    assert ids == tokenizer("was late", add_special_tokens=False).input_ids
    assert decode_completion(tokenizer, "", ids) == "was late"


@given(prompt=st.text(max_size=9), completion=st.text(max_size=20))
def test_bytes_are_tokenised_as_they_stand(tokenizer, prompt, completion):
    """D13: the spaces at the end of the prompt are the completion's."""
    _, ids = encode_pair(tokenizer, prompt, completion, 1000, eos=False)
    spaces = prompt[len(prompt.rstrip(" ")) :]
    assert ids == tokenizer(spaces + border(prompt, completion), add_special_tokens=False).input_ids


def test_padding():
    ids, mask = pad([[1, 2], [3]], 9, "left")
    assert ids.tolist() == [[1, 2], [9, 3]]
    assert mask.tolist() == [[True, True], [False, True]]
    assert pad([[1, 2], [3]], 9)[0].tolist() == [[1, 2], [3, 9]]


def test_a_tokenizer_that_joins_white_space_marks_no_beginnings():
    """The sandbox's own: a newline and the space of a word after it are one piece there."""
    from plugins.base.tiny_lm.plugin import TinyLmConfig, train_tokenizer

    tokenizer = train_tokenizer(["the nurse was late."] * 4, TinyLmConfig(vocab_size=400))
    prompt, ids = encode_pair(tokenizer, "the nurse", "was late.", 64, eos=False)
    assert prompt + ids == tokenizer("the nurse was late.", add_special_tokens=False).input_ids


texts = st.lists(st.tuples(st.text("abc the\n", max_size=14), st.text("abc the\n", max_size=14)), max_size=6)


@settings(deadline=None)
@given(pairs=texts, max_length=st.integers(2, 14), eos=st.booleans())
def test_many_pairs_are_encoded_like_one(tokenizer, pairs, max_length, eos):
    found = encode_pairs(tokenizer, [p for p, _ in pairs], [c for _, c in pairs], max_length, eos)
    for (prompt, completion), pair in zip(pairs, found, strict=True):
        expected = encode_pair(tokenizer, prompt, completion, max_length, eos)
        assert (list(pair.prompt), list(pair.completion)) == expected
        whole = encode_pair(tokenizer, prompt, completion, 1000, eos)
        assert pair.is_cut == (whole != expected)
