"""Settings of libraries that have to be in the environment before those libraries are imported."""

from __future__ import annotations

import os

QUIET = {
    "DO_NOT_TRACK": "true",  # MLflow takes only this word
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout may be somebody's JSON
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""No telemetry, no warnings about forks."""

CONSOLE = {
    # The levels of handlers, not of loggers: the server still gets every log line.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_COLORS": "false",
}
"""Prefect keeps quiet on the terminal of `evenhand run`, which has its own display."""


def prepare(console: bool = True) -> None:
    """Set defaults; what the user has set stays."""
    for name, value in (QUIET | (CONSOLE if console else {})).items():
        os.environ.setdefault(name, value)
