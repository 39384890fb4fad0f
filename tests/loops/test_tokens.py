import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.modeling import load_tokenizer
from pipeline_core.tokens import border, decode_completion, encode_pair, encode_prompt, pad


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
    ],
)
def test_one_space_at_the_border(prompt, completion, expected):
    assert border(prompt, completion) == expected


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


def test_padding():
    ids, mask = pad([[1, 2], [3]], 9, "left")
    assert ids.tolist() == [[1, 2], [9, 3]]
    assert mask.tolist() == [[True, True], [False, True]]
    assert pad([[1, 2], [3]], 9)[0].tolist() == [[1, 2], [3, 9]]
