"""A prompt to trace with every choice of TraceConfig: as form fields, in an address, on the command line; pure."""

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tracer.config import TraceConfig
from tracer.demo import CLT_DIR, MODEL_DIR
from tracer.errors import PromptError, SettingError

Kind = Literal["switch", "choice", "whole", "number", "list", "text"]
FREQUENT = ("target", "target_tokens", "max_n_logits", "desired_logit_prob", "max_feature_nodes")
TEXTS = ("prompt", "token_ids", "model", "transcoders")  # the other fields of an order
NUMBER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)


@dataclass(frozen=True)
class Setting:
    """A field of TraceConfig."""

    name: str
    """As in Python; on the command line with - for _."""
    kind: Kind
    """Which values it takes; `text` becomes a number where it looks like one and the field takes numbers."""
    default: Any
    """That of the field."""
    meaning: str
    """The sentence that stands under the field."""
    choices: tuple[Any, ...] = ()
    """The values of a `choice`; None stands for none of the others."""
    numbers: bool = False
    """Whether a `text` may be a whole number as well."""

    def words(self, value: Any) -> list[str]:
        """A value as texts: one for each element of a list.

        >>> SETTINGS["target_tokens"].words((" Austin", " Dallas")), SETTINGS["chat"].words(True)
        ([' Austin', ' Dallas'], ['yes'])
        """
        match value:
            case tuple():
                return list(value)
            case bool():
                return ["yes" if value else "no"]
            case None:
                return []
            case _:
                return [str(value)]

    def read(self, words: Sequence[str]) -> Any:
        """The value that these texts stand for.

        Raises:
            SettingError: They are none that this setting takes.

        >>> SETTINGS["target_position"].read(["-1"]), SETTINGS["target_position"].read([" Dallas"])
        (-1, ' Dallas')
        """
        if self.kind == "list":
            return tuple(words)
        text = words[0] if words else ""
        readers = {"switch": {"yes": True, "no": False}.__getitem__, "whole": int, "number": float}
        readers |= {"choice": self._choice, "text": self._text}
        try:
            return readers[self.kind](text)
        except (KeyError, ValueError):
            raise SettingError(f"{self.name} is {text!r}; expected {self._expected()}. Correct it.") from None

    def _choice(self, text: str) -> Any:
        return {str(choice or ""): choice for choice in self.choices}[text]

    def _text(self, text: str) -> Any:
        return int(text) if self.numbers and NUMBER.fullmatch(text) else text

    def _expected(self) -> str:
        names = {"switch": "yes or no", "whole": "a whole number", "number": "a number", "choice": "one of "}
        return names[self.kind] + ", ".join(choice for choice in self.choices if choice)


@dataclass(frozen=True)
class TraceOrder:
    """What is to be traced, by what, and how."""

    prompt: str = ""
    """What the model reads; empty while nothing was asked."""
    model: str = str(MODEL_DIR)
    """Folder or name on the hub; the demo model."""
    transcoders: str = str(CLT_DIR)
    """Folder or name on the hub; the demo model's cross-layer transcoders."""
    config: TraceConfig = field(default_factory=TraceConfig)
    """Every other choice."""
    token_ids: str = ""
    """What the model reads instead of a prompt, as token ids such as `2,17,5`."""

    @property
    def is_demo(self) -> bool:
        """Whether the shipped model is to be traced."""
        return self.model == str(MODEL_DIR)

    @property
    def reads(self) -> str:
        """What the model reads, for people; empty while nothing was asked."""
        return self.prompt if self.prompt.strip() else self.token_ids.strip()

    def check(self) -> None:
        """Refuse an order with something missing, or too much. Raises PromptError or SettingError."""
        if not self.reads:
            raise PromptError(
                "there is no prompt; expected a text that the model reads. Write one, or take an example."
            )
        if self.prompt.strip() and self.token_ids.strip():
            raise PromptError(
                f"there is a prompt beside the token ids {self.token_ids!r}; expected one of them. Empty one field."
            )
        for what, value in (("model", self.model), ("transcoders", self.transcoders)):
            if not value.strip():
                raise SettingError(
                    f"the field {what} is empty; expected a folder or a name on the hub. Fill it in, or take the demo "
                    "model."
                )

    def arguments(self, out: Path | None = None) -> list[str]:
        """The command line that traces this, each part as one argument; what is at its default is left out.

        >>> TraceOrder("-1 is", "m", "t", TraceConfig(chat=True, target_tokens=(" a",))).arguments()
        ['trace', '--model=m', '--transcoders=t', '--target-tokens= a', '--chat', '--', '-1 is']
        """
        flags = [f"--model={self.model}", f"--transcoders={self.transcoders}", *([f"--out={out}"] if out else [])]
        for setting, value in self._changed():
            flag = setting.name.replace("_", "-")
            if setting.kind == "switch":
                flags.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                flags += [f"--{flag}={word}" for word in setting.words(value)]
        return ["trace", *flags, *(["--", self.prompt] if self.prompt else [f"--token-ids={self.token_ids}"])]

    def params(self) -> dict[str, str | list[str]]:
        """As query parameters; what is at its default is left out.

        >>> TraceOrder("The capital", config=TraceConfig(max_n_logits=3)).params()
        {'prompt': 'The capital', 'max_n_logits': ['3']}
        """
        known = {name: getattr(self, name) for name in TEXTS if getattr(self, name) != getattr(TraceOrder, name)}
        return known | {setting.name: setting.words(value) for setting, value in self._changed()}

    def _changed(self) -> list[tuple[Setting, Any]]:
        values = asdict(self.config)
        return [(each, values[each.name]) for each in SETTINGS.values() if values[each.name] != each.default]


def read_order(given: Mapping[str, Sequence[str]]) -> TraceOrder:
    """The order of an address, by parameter the values that stand there; what is no parameter of ours is left out.

    Raises:
        SettingError: A setting has a value that it cannot have.
    """
    texts = {name: given[name][0] for name in TEXTS if given.get(name)}
    values = {name: setting.read(given[name]) for name, setting in SETTINGS.items() if given.get(name)}
    return TraceOrder(**texts, config=TraceConfig(**values))


def read_settings() -> dict[str, Setting]:
    """The fields of TraceConfig by name, in their order."""
    hints, meanings = get_type_hints(TraceConfig), _field_docstrings(TraceConfig)
    return {
        each.name: _setting(each.name, hints[each.name], each.default, meanings[each.name])
        for each in fields(TraceConfig)
    }


def _setting(name: str, hint: Any, default: Any, meaning: str) -> Setting:
    if hint in (bool, int, float, str):
        kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
        return Setting(name, kinds[hint], default, meaning)
    if get_origin(hint) is tuple:
        return Setting(name, "list", default, meaning)
    if int in get_args(hint):
        return Setting(name, "text", default, meaning, numbers=True)
    parts = get_args(hint) if get_origin(hint) is not Literal else (hint,)
    choices = [None if part is NoneType else get_args(part) for part in parts]
    flat = [choice for group in choices for choice in (group or (None,))]
    return Setting(name, "choice", default, meaning, tuple(sorted(flat, key=lambda choice: choice is not None)))


def _field_docstrings(cls: type) -> dict[str, str]:
    """The text that stands under each field of a class, as one line."""
    [body] = ast.parse(inspect.getsource(cls)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for name_line, text in zip(body.body, body.body[1:], strict=False):
        match name_line, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                found[name] = " ".join(meaning.split())
    return found


SETTINGS = read_settings()
