"""Typed reading of JSON that Evenhand wrote; a damaged file gives one sentence on the fault."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline_core.errors import dotted

T = TypeVar("T")


class Damaged(ValueError):
    """File without the content that it should have."""


def read_as(adapter: TypeAdapter[T], file: Path) -> T:
    """Content of a file as the adapter's type.

    Raises:
        FileNotFoundError: there is no file; Damaged: it cannot be read, or holds something else.
    """
    try:
        return adapter.validate_json(file.read_bytes())
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:  # a file stands where the folder should be
        raise FileNotFoundError(error.errno, error.strerror, error.filename) from None
    except OSError as error:
        raise Damaged(str(error.strerror)) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = f"{dotted(problem['loc'])}: " if problem["loc"] else ""
        # pydantic puts this prefix before the text of every ValueError.
        raise Damaged(f"{where}{problem['msg'].removeprefix('Value error, ')}") from None
