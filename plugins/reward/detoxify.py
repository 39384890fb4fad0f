"""Reward `detoxify`: published toxicity classifiers of the package detoxify (unitary), as a reward and as a scorer.

The stage needs the extra `detoxify` and, at first use, the network, unless `checkpoint` names a downloaded file. The
artifact has the model as a sequence classifier, so loading needs neither. A larger output is worse: this sign is
declared, not tested. Labelled rows, if given, are used for metrics.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.errors import BadInput, NotUsable, UnknownName
from pipeline_core.export.rewards import export_classifier
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of_file
from pipeline_core.models.model_files import check_model_folder
from pipeline_core.models.model_sources import LOCAL, folder_source
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.classifiers import load, save_classifier, scale
from pipeline_core.rewards.load import checked
from pipeline_core.rewards.measuring import declared, reward_metrics
from pipeline_core.rewards.sources import labelled_text
from pipeline_core.rewards.truncation import cut_by_tokens

PACKAGE = "detoxify"


class DetoxifyConfig(PluginConfig):
    """Classifier of the package detoxify; the reward is the negative logit of one of its outputs."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    name: Literal["detoxify"] = "detoxify"
    model: Literal["original", "unbiased", "multilingual", "original-small", "unbiased-small"] = "unbiased"
    """Published model; `unbiased` was trained not to react to the mere mention of a group."""
    checkpoint: str | None = None
    """File with a checkpoint in detoxify's format, instead of a download of `model`."""
    config_folder: str | None = None
    """Folder with the encoder's configuration and tokenizer, instead of a download from the hub."""
    output: str = "toxicity"
    """Name of the output that is the score."""
    max_length: int = Field(512, ge=4)
    """Longest text in tokens; longer texts lose their beginning."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows to measure the reward on, from one or several catalog entries. Default: the pipeline's rows."""

    def identity(self) -> dict[str, Any]:
        """Configuration without the paths of local files, which are digested instead."""
        paths = {"checkpoint": self.checkpoint, "config_folder": self.config_folder}
        return super().identity() | {name: LOCAL for name, path in paths.items() if path}

    def needs_hub(self) -> list[str]:
        """Downloads that detoxify makes."""
        return [] if self.checkpoint and self.config_folder else [f"the model {self.model!r} of detoxify"]


def sources(config: DetoxifyConfig) -> Mapping[str, str]:
    """Digests of local files.

    Raises:
        BadInput: the package is not installed, or a file is missing or unusable.
    """
    file, folder = (user_path(path) if path else None for path in (config.checkpoint, config.config_folder))
    if file and not file.is_file():
        raise NotUsable(f"reward.checkpoint (detoxify): there is no file {file}")
    if folder:
        check_model_folder(folder, weights=False)
    if importlib.util.find_spec(PACKAGE) is None:
        raise BadInput("reward.name=detoxify needs the package detoxify: `pip install 'evenhand[detoxify]'`")
    settings = {f"config_folder/{name}": digest for name, digest in folder_source(folder).items()} if folder else {}
    return settings | ({"checkpoint": digest_of_file(file)} if file else {})


def run(config: DetoxifyConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the model as a sequence classifier, and measure it if there are labelled rows."""
    if not context.is_main:
        return {}
    model, tokenizer, column = open_detoxify(config)
    # trained on comments, which have no prompt
    save_classifier(model, tokenizer, column, "completion", config.max_length, out)
    raw = checked(load(out, context.device), config.name)  # what is measured is what was saved
    text = labelled_text(inputs, config.data)
    return declared(-1, reward_metrics(raw, out, text, seed=context.seed, own_scale=True), out)


def open_detoxify(config: DetoxifyConfig) -> tuple[Any, Any, int]:
    """Load model and tokenizer, and find the column of the output.

    Raises:
        BadInput: the model cannot be loaded; UnknownName: it has no such output.
    """
    from detoxify import Detoxify

    from pipeline_core.models.foreign import LOADING_ERRORS, reason

    paths = {"checkpoint": config.checkpoint, "huggingface_config_path": config.config_folder}
    given = {name: str(user_path(path)) for name, path in paths.items() if path}
    try:
        loaded = Detoxify(config.model, **given)
    except LOADING_ERRORS as error:
        raise BadInput(
            f"the model {config.model!r} of detoxify cannot be had ({reason(error)}); without a network give "
            "`checkpoint` and `config_folder`"
        ) from error
    if config.output not in loaded.class_names:
        raise UnknownName("output", config.output, loaded.class_names, "reward.output (detoxify)")
    model = loaded.model.eval()
    # a checkpoint may have more outputs than names
    names = [*loaded.class_names, *(f"other_{i}" for i in range(len(loaded.class_names), model.config.num_labels))]
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model.config.problem_type = "multi_label_classification"  # independent outputs: the score is a logit, no log-odds
    return model, loaded.tokenizer, loaded.class_names.index(config.output)


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `detoxify`."""
    return [
        RewardModel(
            DetoxifyConfig,
            run,
            revision=3,
            sources=sources,
            load=load,
            cut=cut_by_tokens,
            export=export_classifier,
            scale=scale,
        )
    ]
