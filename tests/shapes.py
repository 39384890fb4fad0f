"""Checks shapes in signatures while tests run: `conftest.py` hooks it into the imports of `pipeline_core.losses`."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
