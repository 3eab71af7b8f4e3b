"""A JSON file that nobody vouches for: its values in the types they should have, or a refusal that names the file."""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from ingest.sources import Source
from tracer.errors import GraphFormatError

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # only through an escape can half a character come into JSON
BLANKS = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
LARGEST = float(np.finfo(np.float32).max)  # columns are float32
AT_ONCE = 1 << 18  # bytes read at a time


@dataclass(frozen=True)
class Document:
    """A JSON object from a file: takes values out of it in the type they should have, or refuses the file."""

    name: str
    """Of the file, for messages."""
    root: dict[str, Any]
    """What the file holds, without the lists whose items were handed on."""
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
            number = math.inf if isinstance(value, bool) else _number(value)
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

    def fitting(self, value: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
        """This object without values of another kind than these; those that have none here may be of any."""
        fitting = {}
        for name, each in value.items():
            kind = kinds.get(name, object)
            if isinstance(kind, dict) and isinstance(each, dict):
                fitting[name] = self.fitting(each, kind)
            elif isinstance(kind, dict) or not is_of(kind, each):
                self.repairs["values_of_wrong_kind"] += 1
            else:
                fitting[name] = each
        return fitting


def read_document(source: Source, handlers: Mapping[str, Callable[[Document], Callable[[Any], None]]]) -> Document:
    """The JSON object in this file, read piece by piece: of a list with a handler no more than one item is held.

    Args:
        handlers: Name of a list at the top -> what takes its items, made when the list begins. Where the name holds
            something else than a list, it stands in `root` as any other value.

    Raises:
        GraphFormatError: Not JSON, not an object, broken gzip, or the file cannot be read.
    """
    document = Document(source.name, {})
    expected, remedy = "a graph in JSON, or JSON in gzip", "Fetch the file again."
    try:
        with source.open() as raw:
            _read_object(_Text(raw, document.repairs), document, handlers)
    except RecursionError:
        raise document.refused("lists nested more than a thousand deep", expected, remedy) from None
    except ValueError as error:
        raise document.refused(f"not JSON ({short(str(error))})", expected, remedy) from None
    return document


class _Text:
    """The text of a file with a place in it: values are decoded one after the other, and what is read is let go."""

    def __init__(self, raw: IO[bytes], repairs: Counter[str]):
        self._raw, self._repairs = raw, repairs
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder(object_pairs_hook=self._object).raw_decode
        self._repeated = 0  # names in the value that is being read
        self._text, self._at, self._ended, self._halves = "", 0, False, False
        self._gone = 0  # characters let go, for messages

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            self._at = BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches the empty text
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(AT_ONCE):
                return ""

    def take(self, *wanted: str) -> str:
        """The next character, which must be one of these."""
        seen = self.peek()
        if seen not in wanted or not seen:
            raise ValueError(f"{seen!r} at character {self._gone + self._at}, expected {' or '.join(wanted)}")
        self._at += 1
        return seen

    def value(self) -> Any:
        """The next value. One that the piece in memory cuts off is tried again with twice as much."""
        self.peek()
        size = AT_ONCE
        while True:
            self._repeated = 0
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more(size):
                    raise ValueError(f"{error.msg} at character {self._gone + error.pos}") from None
            else:
                if end + 2 < len(self._text) or not self._more(size):  # a number may go on: `1`, `1.`, `1e-`
                    self._at = end
                    self._repairs["repeated_names"] += self._repeated
                    return whole_characters(self._repairs, value) if self._halves else value
            size *= 2

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        self._repeated += len(pairs) - len(made)
        return made

    def _more(self, size: int) -> bool:
        """Read on; False where nothing is left."""
        if self._ended:
            return False
        chunk = self._raw.read(size)
        self._ended = not chunk
        text = self._decode(chunk, final=self._ended)
        kept = self._text[self._at :]
        self._halves = self._halves or bool(ESCAPED_HALF.search(kept[-6:] + text))
        self._gone += self._at
        self._text, self._at = kept + text, 0
        return True


def _read_object(
    text: _Text, document: Document, handlers: Mapping[str, Callable[[Document], Callable[[Any], None]]]
) -> None:
    if text.peek() != "{":
        kind = type(text.value()).__name__
        raise document.refused(f"a JSON {kind}", "an object with metadata, nodes and links", "Give a graph.")
    ended = text.take("{") and text.peek() == "}" and text.take("}")
    while not ended:
        if text.peek() != '"':
            text.take('"')
        name = text.value()
        text.take(":")
        document.repairs["repeated_names"] += name in document.root
        if name in handlers and text.peek() == "[":
            document.root[name] = _read_items(text, handlers[name](document))
        else:
            document.root[name] = text.value()
        ended = text.take(",", "}") == "}"
    if rest := text.peek():
        raise ValueError(f"{rest!r} after the end of the object")


def _read_items(text: _Text, handle: Callable[[Any], None]) -> Callable[[Any], None]:
    ended = text.take("[") and text.peek() == "]" and text.take("]")
    while not ended:
        handle(text.value())
        ended = text.take(",", "]") == "]"
    return handle


def whole_characters(repairs: Counter[str], value: Any) -> Any:
    """The same JSON value with halves of surrogate pairs replaced; neither UTF-8 nor Parquet can hold them."""
    if isinstance(value, str):
        whole, n = HALF_CHARACTER.subn("?", value)
        repairs["half_characters"] += bool(n)
        return whole
    if isinstance(value, list):
        return [whole_characters(repairs, item) for item in value]
    if isinstance(value, dict):
        return {whole_characters(repairs, key): whole_characters(repairs, item) for key, item in value.items()}
    return value


def _number(value: Any) -> float:
    return number_in(value) if isinstance(value, str) else float(value)


def number_in(text: str) -> float:
    """The number that a text holds; NaN where it is none in JSON's sense, as with underscores, which Python allows.

    >>> number_in(" -2.5e3"), number_in("1_0")
    (-2500.0, nan)
    """
    return float(text) if NUMBER.fullmatch(text) else math.nan


def depth_of(value: Any) -> int:
    """How deep lists and objects are nested.

    >>> depth_of(1), depth_of([{"a": []}])
    (0, 3)
    """
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list | tuple)]:
        depth += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return depth


def is_of(kind: type, value: Any) -> bool:
    """Whether a JSON value is of this kind: whole numbers are numbers, and true is none."""
    if kind is float:
        return type(value) in (int, float)
    if kind is int:
        return type(value) is int or (type(value) is float and value.is_integer())
    return isinstance(value, kind)


def without_nan(value: Any) -> Any:
    """The same JSON value with null for NaN and infinities, which are no JSON."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def short(value: Any) -> str:
    """The value for a message, cut where it is long.

    >>> short(7), short("x" * 100)[-6:]
    ('7', 'xxx...')
    """
    if isinstance(value, str):
        value = value[:100]  # a text of megabytes is not written out to be cut
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a whole number with more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
