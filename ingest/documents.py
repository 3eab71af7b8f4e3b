"""A JSON file that nobody vouches for: its values in the types they should have, or a refusal that names the file."""

import gzip
import json
import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tracer.errors import GraphFormatError

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # only through an escape can half a character come into JSON
LARGEST = float(np.finfo(np.float32).max)  # columns are float32


@dataclass(frozen=True)
class Document:
    """A JSON object from a file: takes values out of it in the type they should have, or refuses the file."""

    name: str
    """Of the file, for messages."""
    root: dict[str, Any]
    """What the file holds."""
    repairs: Counter[str] = field(default_factory=Counter)
    """How often which contradiction was resolved, by name."""

    def refused(self, seen: str, expected: str, remedy: str) -> GraphFormatError:
        return GraphFormatError(f"{self.name}: {seen}; expected {expected}. {remedy}")

    def number(self, value: Any, what: str) -> float:
        """This value as a finite number, NaN where there is none."""
        if value is None:
            return math.nan
        if isinstance(value, str):
            self.repairs["numbers_as_text"] += 1
        try:
            number = math.inf if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.inf
        if not abs(number) <= LARGEST:
            raise self.refused(f"{what} is {short(value)}", "a finite number", "Write the file again.")
        return number

    def text(self, value: Any, what: str) -> str:
        """This value as text, empty where there is none."""
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.refused(f"{what} is {short(value)}", "a text", "Write the file again.")
        return value

    def list_of(self, kind: type, value: Any, what: str) -> list:
        """This value as a list whose items all have this type."""
        odd = [item for item in value if not isinstance(item, kind)] if isinstance(value, list) else [value]
        if odd:
            names = {dict: "objects", str: "texts"}
            raise self.refused(f"{what}: {short(odd[0])}", f"a list of {names[kind]}", "Write the file again.")
        return value


def read_content(path: Path) -> bytes:
    """The bytes of this file. Raises GraphFormatError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise GraphFormatError(
            f"{path}: cannot be read ({error.strerror or error}); expected a graph in JSON. Check the path."
        ) from None


def parse(name: str, content: bytes) -> Document:
    """The JSON object in these bytes, which may be compressed by gzip.

    Raises:
        GraphFormatError: Not JSON, not an object, or broken gzip.
    """
    empty = Document(name, {})
    expected, remedy = "a graph in JSON, or JSON in gzip", "Fetch the file again."
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
        root = json.loads(text)
    except (OSError, EOFError, zlib.error) as error:
        raise empty.refused(f"broken gzip ({error})", expected, remedy) from None
    except RecursionError:
        raise empty.refused("lists nested more than a thousand deep", expected, remedy) from None
    except ValueError as error:
        raise empty.refused(f"not JSON ({short(str(error))})", expected, remedy) from None
    if not isinstance(root, dict):
        raise empty.refused(
            f"a JSON {type(root).__name__}", "an object with metadata, nodes and links", "Give a graph."
        )
    repairs: Counter[str] = Counter()
    return Document(name, _whole_characters(repairs, root) if ESCAPED_HALF.search(text) else root, repairs)


def _whole_characters(repairs: Counter[str], value: Any) -> Any:
    """The same JSON value with halves of surrogate pairs replaced; neither UTF-8 nor Parquet can hold them."""
    if isinstance(value, str):
        whole, n = HALF_CHARACTER.subn("?", value)
        repairs["half_characters"] += bool(n)
        return whole
    if isinstance(value, list):
        return [_whole_characters(repairs, item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(repairs, key): _whole_characters(repairs, item) for key, item in value.items()}
    return value


def short(value: Any) -> str:
    """The value for a message, cut where it is long.

    >>> short(7), short("x" * 100)[-6:]
    ('7', 'xxx...')
    """
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
