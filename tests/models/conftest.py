"""The tiny model and context of trainings serve tests of models too."""

from tests.training.conftest import context, model_folder

__all__ = ["context", "model_folder"]
