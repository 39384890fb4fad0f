"""Generator with a local model: answers questions in batches, each with its own random numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput
from pipeline_core.models import model_sources
from pipeline_core.models.tokens.templates import Template
from plugins.extend.llm_rotation._generators import GeneratorInput
from plugins.extend.llm_rotation._journal import Reply
from plugins.extend.llm_rotation._prompts import STOP
from plugins.extend.llm_rotation._settings import NEEDED_BY, LocalSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


LONGEST = 1 << 20
"""Largest number of prompt tokens that are encoded, so large that only the model's own limit matters."""
MARK = "\ue000{}\ue001"
"""Placeholder for the content of a turn, in Unicode private-use characters, which do not occur in texts."""


class LocalModel:
    """Generator in this process; the model is loaded at the first question."""

    workers = 1

    def __init__(self, settings: LocalSettings, device: str) -> None:
        self.together = settings.batch_size
        self._settings, self._device = settings, device

    def answer(self, questions: Sequence[GeneratorInput], seeds: Sequence[int]) -> list[Reply]:
        """Replies to a batch. Questions longer than the model's limit get the fault `rejected`; replies without an end
        token or stop string, `truncated`.

        Raises:
            BadInput: a question is a conversation and the model has no chat template.
        """
        texts = [self._text(question) for question in questions]
        faults = [self._too_long(text) for text in texts]
        fitting = [place for place, fault in enumerate(faults) if not fault]
        answered = iter(self._generate([texts[place] for place in fitting], [seeds[place] for place in fitting]))
        return [Reply(fault, 0, 0, "rejected") if fault else next(answered) for fault in faults]

    def _too_long(self, text: str) -> str:
        from pipeline_core.models.sampling.ways import check_sampling
        from pipeline_core.models.tokens.prompts import encode_prompt

        model, tokenizer = self._loaded
        try:
            check_sampling(model, len(encode_prompt(tokenizer, text, LONGEST)), self._settings.max_new_tokens)
        except BadInput as error:
            return str(error)
        return ""

    def _generate(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        from pipeline_core.models.sampling.decoding import SamplingSettings
        from pipeline_core.models.sampling.sample import generate

        if not texts:
            return []
        model, tokenizer = self._loaded
        settings = self._settings
        stop = STOP if settings.style == "completion" else ()
        rollout = generate(
            model,
            tokenizer,
            texts,
            SamplingSettings(settings.max_new_tokens, settings.temperature, settings.top_p, stop),
            # samples depend on seed and prompt index: an index per question gives each its own stream
            seed=0,
            prompt_indices=list(seeds),
            max_prompt_tokens=LONGEST,
            batch_rows=len(texts),
        )
        parts = zip(rollout.texts, rollout.prompt_ids, rollout.completion_ids, rollout.ended, strict=True)
        return [
            Reply(text, len(asked), len(written), "" if ended else "truncated") for text, asked, written, ended in parts
        ]

    def close(self) -> None:
        """Release the model."""
        self.__dict__.pop("_loaded", None)  # where cached_property keeps it

    def _text(self, question: GeneratorInput) -> str:
        if isinstance(question, str):
            return question
        _, tokenizer = self._loaded
        if tokenizer.chat_template is None:
            raise BadInput(
                f"generator {self._settings.called}: the model has no chat template; set `style: completion`"
            )

        def render(contents: list[str]) -> str:
            turns = [{"role": turn.role, "content": text} for turn, text in zip(question, contents, strict=True)]
            return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

        return rendered(render, [turn.content for turn in question])

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from pipeline_core.models.foreign import load_complete
        from pipeline_core.models.loading import load_tokenizer
        from pipeline_core.models.model_files import is_masked

        if self._settings.package:
            file = self._settings.gguf_file()
            model, tokenizer = load_complete(file.parent, "float32", file.name)
        else:
            folder = model_sources.model_folder(self._settings.model or "", self._settings.revision, NEEDED_BY)
            if is_masked(folder):
                raise BadInput(f"{folder} holds a masked language model, and a causal one is needed")
            model, _ = load_complete(folder, "bfloat16" if self._device.startswith("cuda") else "float32")
            tokenizer = load_tokenizer(folder)
        placed: Any = model.to(self._device)  # type: ignore[arg-type]
        return placed.eval(), tokenizer


def rendered(render: Callable[[list[str]], str], contents: Sequence[str]) -> Template:
    """Text of a conversation rendered by a chat template, with the spans of the turns' contents.

    Spans are found by rendering placeholders in place of the contents. If the template changes any content, except for
    surrounding white space, there are no spans: the whole text counts as text of the template.
    """
    text, skeleton = render(list(contents)), render([MARK.format(number) for number in range(len(contents))])
    for texts in product(*((content, content.strip()) for content in contents)):
        made = _with_contents(skeleton, texts)
        if made == text:
            return made
    return Template(text)


def _with_contents(skeleton: str, contents: Sequence[str]) -> Template:
    text, values, place = "", [], 0
    for mark in re.finditer(MARK.format(r"(\d+)"), skeleton):
        text += skeleton[place : mark.start()]
        content = contents[int(mark[1])]
        values.append((len(text), len(text) + len(content)))
        text, place = text + content, mark.end()
    return Template(text + skeleton[place:], values)
