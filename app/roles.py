"""Roles of a pattern, such as {city}: which words may stand for each."""

import json
from pathlib import Path

from tracer.demo import ROLES_FILE
from tracer.errors import PatternError


def read_roles(path: Path | None = None) -> dict[str, list[str]]:
    """The roles of this JSON file, those of the demo's world if not given.

    Raises:
        PatternError: The file cannot be read or is not of the form {role: [words]}.
    """
    path = path or ROLES_FILE
    try:
        roles = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PatternError(f"{path}: {error}; expected a JSON file of the form {{role: [words]}}. Check it.") from None
    if not isinstance(roles, dict) or not all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in roles.values()
    ):
        raise PatternError(f"{path}: not of the form {{role: [words]}}; expected a list of words per role. Correct it.")
    return roles
