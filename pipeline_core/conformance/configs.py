"""Conformance checks of a plugin's configuration."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.types import Secret, SecretBytes, SecretStr

from pipeline_core.checks.messages import types_in
from pipeline_core.plugin.revisions import CORE_REVISIONS, packages_of
from pipeline_core.plugin.specs import PluginConfig, PolicyConfig, Spec


def check_config(spec: Spec, settings: Mapping[str, Any]) -> PluginConfig:
    """Check that a configuration is documented, has valid defaults, and is unchanged by conversion to JSON and back."""
    assert not (unknown := set(packages_of(spec)) - CORE_REVISIONS.keys()), (
        f"{spec.name}: `core` names {sorted(unknown)}; known are {', '.join(CORE_REVISIONS)}"
    )
    assert not (secret := list(_secrets(spec.config))), (
        f"{', '.join(secret)}: a secret cannot travel as JSON; read keys from the environment"
    )
    _check_defaults(spec)
    config = spec.config.model_validate({"name": spec.name, **settings})
    assert spec.config.model_validate_json(config.model_dump_json()) == config, "the configuration changes through JSON"
    undocumented = [  # pydantic takes a field's description from the docstring below it
        name for name, field in spec.config.model_fields.items() if not field.description and name != "name"
    ]
    assert not undocumented, f"no docstring below: {', '.join(undocumented)}"
    assert spec.config.model_config.get("extra") == "forbid", "unknown keys must be refused"
    assert spec.stage != "policy" or isinstance(config, PolicyConfig), (
        "a policy's configuration subclasses PolicyConfig"
    )
    return config


def _secrets(config: type[BaseModel]) -> Iterator[str]:
    for name, field in config.model_fields.items():
        for part in types_in(field.annotation):
            if issubclass(part, (Secret, SecretStr, SecretBytes)):
                yield name
            elif issubclass(part, BaseModel):
                yield from (f"{name}.{inner}" for inner in _secrets(part))


def _check_defaults(spec: Spec) -> None:
    """Check that defaults satisfy the plugin's own constraints; pydantic does not validate defaults."""
    strict = {"model_config": ConfigDict(validate_default=True)}
    checking: type[BaseModel] = types.new_class(
        spec.config.__name__, (spec.config,), exec_body=lambda ns: ns.update(strict)
    )
    try:
        checking.model_validate({"name": spec.name})
    except ValidationError as error:
        # a required field has no default to be wrong
        defaults = {name for name, field in spec.config.model_fields.items() if not field.is_required()}
        wrong = [problem for problem in error.errors() if problem["loc"] and problem["loc"][0] in defaults]
        faults = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in wrong)
        assert not wrong, f"the defaults of {spec.name} are not valid: {faults}"
