"""Small tokenizers of the kinds that models have, trained on a few words."""

import functools
import json
from typing import ClassVar

from tests.training.tiny import WORDS

TEXT = " ".join([*WORDS, ". , ! ? ( ) \" ' : ; Yes No Answer Question"])
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@functools.cache
def _byte_level():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "[gMASK]", "<sop>", "<|im_start|>", "<|im_end|>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    raw.train_from_iterator([TEXT] * 4, trainer)
    return raw.to_str()


def byte_level(frame=None, space_before=False, **names):
    """Byte-level BPE; `frame` is a template like `<s> $A </s>`, `space_before` puts a space before every beginning."""
    from tokenizers import Tokenizer, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = _framed(Tokenizer.from_str(_byte_level()), frame)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space_before)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | names
    chat = {"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **{k: v for k, v in names.items() if v}, **chat)


def _framed(raw, frame):
    from tokenizers.processors import TemplateProcessing

    if frame:
        names = [part for part in frame.split() if part != "$A"]
        special_tokens = [(name, raw.token_to_id(name)) for name in dict.fromkeys(names)]
        raw.post_processor = TemplateProcessing(single=frame, special_tokens=special_tokens)
    return raw


@functools.cache
def _metaspace():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    special = ["<unk>", "<s>", "</s>"]
    raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special + BYTES, show_progress=False)
    raw.train_from_iterator([TEXT] * 4, trainer)
    state = json.loads(raw.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    return json.dumps(state)


def metaspace(scheme="prepend", frame="<s> $A"):
    """In Llama 2's way: `prepend` as its normaliser, else the scheme of a Metaspace pre-tokenizer."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer.from_str(_metaspace())
    if scheme == "prepend":
        raw.pre_tokenizer = None
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if scheme != "never":
        parts.append(decoders.Strip(" ", 1, 0))
    raw.decoder = decoders.Sequence(parts)
    _framed(raw, frame)
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def unigram():
    """In T5's way: pieces by weight, `</s>` after a text, no start; white space runs are one space."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = sorted({*TEXT, *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>/|_\"'"} - {" "})
    pieces += [("▁", -2.0), *((letter, -5.0) for letter in letters), *((f"▁{word}", -3.0) for word in WORDS)]
    raw = Tokenizer(models.Unigram(pieces, 2))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    raw.normalizer = normalizers.Sequence([spaces, normalizers.Strip(left=False, right=True)])
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    _framed(raw, "$A </s>")
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def word_pieces():
    """In BERT's way."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({*TEXT.lower(), *"abcdefghijklmnopqrstuvwxyz0123456789[]<>/|"} - {" "})
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *WORDS, "yes", "no", "answer"]
    raw = Tokenizer(models.WordPiece({w: i for i, w in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece(cleanup=False)
    from tokenizers.processors import TemplateProcessing

    ends = [("[CLS]", 2), ("[SEP]", 3)]
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def words():
    """Whole words between white space, control tokens among them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<unk>", "</s>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="</s>", pad_token="</s>")


def slow():
    """A tokenizer in Python: a character is a token, `<s>` before a text."""
    from transformers import PreTrainedTokenizer

    class Characters(PreTrainedTokenizer):
        vocab_files_names: ClassVar = {}

        def __init__(self, **names):
            self.id_of = {c: i for i, c in enumerate(["<unk>", "<s>", "</s>", *map(chr, range(10, 383))])}
            self.name_of = {number: name for name, number in self.id_of.items()}
            super().__init__(**names)

        @property
        def vocab_size(self):
            return len(self.id_of)

        def get_vocab(self):
            return {**self.id_of, **self.added_tokens_encoder}

        def _tokenize(self, text, **_):
            return list(text)

        def _convert_token_to_id(self, token):
            return self.id_of.get(token, 0)

        def _convert_id_to_token(self, index):
            return self.name_of[index]

        def convert_tokens_to_string(self, tokens):
            return "".join(tokens)

        def build_inputs_with_special_tokens(self, ids, others=None):
            return [1, *ids, *(others or [])]

    return Characters(unk_token="<unk>", bos_token="<s>", eos_token="</s>")


KINDS = {
    "byte-level": byte_level,
    "byte-level with a start": lambda: byte_level("<s> $A"),
    "byte-level with two tokens before": lambda: byte_level("[gMASK] <sop> $A", bos_token=None),
    "byte-level with an end after": lambda: byte_level("$A </s>"),
    "byte-level in a frame": lambda: byte_level("<s> $A </s>"),
    "start = end": lambda: byte_level("</s> $A", bos_token="</s>"),
    "end after, start = end": lambda: byte_level("$A </s>", bos_token="</s>"),
    "pad = end": lambda: byte_level(pad_token="</s>"),
    "no pad": lambda: byte_level(pad_token=None),
    "no start": lambda: byte_level(bos_token=None),
    "no end": lambda: byte_level(eos_token=None),
    "byte-level, space before": lambda: byte_level("<s> $A", space_before=True),
    "metaspace, prepended": lambda: metaspace("prepend"),
    "metaspace, always": lambda: metaspace("always"),
    "metaspace, first": lambda: metaspace("first"),
    "metaspace, never": lambda: metaspace("never"),
    "metaspace in a frame": lambda: metaspace("first", "<s> $A </s>"),
    "unigram": unigram,
    "word pieces": word_pieces,
    "words": words,
    "slow": slow,
}
"""By what is special about them."""
LOSSLESS = [name for name in KINDS if name not in ("unigram", "word pieces", "words", "byte-level, space before")]
"""Those that keep every character."""


@functools.cache
def tokenizer_of(kind):
    """One of `KINDS`, made once."""
    return KINDS[kind]()
