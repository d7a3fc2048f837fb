"""Secrets from outside: ``${NAME}`` of the environment, ``file:PATH`` and ``${file:PATH}``.

No message repeats a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crawler.errors import UsageError

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


def expand_env(text: str, where: str, environ: Mapping[str, str] = os.environ) -> str:
    """Replace each ``${NAME}`` by its environment variable; ``$${`` stands for a literal ``${``."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise UsageError(
                f"{where}: '${{' is not followed by NAME}}; write ${{NAME}} for an environment "
                "variable, or $${ for the text itself"
            )
        if match[1] not in environ:
            raise UsageError(
                f"{where}: the environment variable {match[1]} is not set; export {match[1]}=..., "
                f"or write $${{{match[1]}}} for the text itself"
            )
        if not environ[match[1]]:
            raise UsageError(
                f"{where}: the environment variable {match[1]} is empty; give it a value"
            )
        return environ[match[1]]

    return _VARIABLE.sub(value, text)


_FILE: Final = re.compile(r"(?<!\$)\$\{file:([^{}]+)\}")


def expand_files(text: str, where: str) -> str:
    """Replace ``${file:PATH}``, and all of a text ``file:PATH``, by what the file holds.

    The line's end is left out; what it holds passes ``expand_env`` unchanged. Raises
    ``UsageError``.
    """
    if text.startswith("file:"):
        text = f"${{file:{text.removeprefix('file:')}}}"
    return _FILE.sub(lambda match: _held(match[1], where).replace("${", "$${"), text)


def _held(path: str, where: str) -> str:
    try:
        held = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise UsageError(f"{where}: the secret's file {path}: {reason}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{where}: the secret's file {path} is not UTF-8") from None
    if not held:
        raise UsageError(f"{where}: the secret's file {path} is empty")
    return held
