"""Trace many prompts into a folder of graphs, resumable, one failed prompt not stopping the rest."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.terminal import ProgressCallback
from tracer.config import COST_SETTINGS, TraceConfig
from tracer.errors import CircuitError, GraphFormatError, PromptError
from tracer.graph import METADATA_FILE, read_metadata
from tracer.provenance import same_files
from tracer.schema import slug_of

if TYPE_CHECKING:
    import tracer
    from tracer.estimate import Estimate
    from tracer.replacement import ReplacementModel


@dataclass(frozen=True)
class Prompt:
    """A text to trace, or token ids, or the messages of a chat."""

    text: str
    """What the model reads."""
    slug: str
    """Short name for people; made from the text if empty."""
    roles: dict[str, str] = field(default_factory=dict)
    """Known parts of the prompt, e.g. {"city": "Dallas"}."""
    token_ids: tuple[int, ...] = ()
    """Read instead of the text where given."""
    messages: tuple[dict[str, str], ...] = ()
    """Likewise, by the tokenizer's own chat template."""

    @property
    def read(self) -> "tracer.Prompt":
        """What `tracer.attribute` takes."""
        return self.token_ids or self.messages or self.text


def read_prompts(texts: Sequence[str], file: Path | None, token_ids: Sequence[str] = ()) -> list[Prompt]:
    """The prompts given as texts, as token ids such as `2,17,5`, and in a file.

    Args:
        file: A prompt a line, or .jsonl with {"text", "token_ids" or "messages", "slug"?, "roles"?}; what else
            a line names is left alone.

    Raises:
        PromptError: There is none, or the file cannot be read.
    """
    prompts = [Prompt(text, slug_of(text)) for text in texts]
    prompts += [Prompt("", "", token_ids=_ids_from_text(text)) for text in token_ids]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")  # of any line end; others are characters of a text
        except (OSError, UnicodeDecodeError) as error:
            seen = error.strerror if isinstance(error, OSError) else error  # which else names the file again
            raise PromptError(f"{file}: {seen}; expected a text file with one prompt a line. Check it.") from None
        jsonl = file.suffix == ".jsonl"
        prompts += [
            _from_json(line, f"{file.name}, line {number}") if jsonl else Prompt(line, slug_of(line))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
    if not prompts:
        seen = f"no prompt was given ({file} has none)" if file else "no prompt was given"
        raise PromptError(f"{seen}; expected a text, --token-ids, or --file with one prompt a line. Give at least one.")
    return prompts


def graph_folders(
    prompts: Sequence[Prompt], model: str, transcoders: str, config: TraceConfig, parent: Path
) -> list[Path]:
    """A folder for each prompt's graph below `parent`, named after the prompt and everything that was asked."""
    settings = {name: value for name, value in asdict(config).items() if name not in COST_SETTINGS}
    asked = json.dumps([model, transcoders, settings], sort_keys=True)
    return [
        parent / f"{slug_of(prompt.slug or _ids_text(prompt))}-{_short_hash(asked + _read_text(prompt))}"
        for prompt in prompts
    ]


def trace_prompts(
    prompts: Sequence[Prompt],
    folders: Sequence[Path],
    model: str,
    transcoders: str,
    config: TraceConfig,
    progress: ProgressCallback,
    say: Callable[[str], None],
    resume: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> int:
    """Trace each prompt and save its graph into its folder; returns how many could not be traced.

    Args:
        folders: As `graph_folders` names them, or any.
        resume: A graph that stands in its folder is kept where model and dictionary have not changed since.
        note: Told, before the work on each prompt begins, what it will take.

    Raises:
        CircuitError: The model cannot be loaded, or the only prompt cannot be traced.
    """
    todo = []
    for prompt, folder in zip(prompts, folders, strict=True):
        if resume and (folder / METADATA_FILE).exists():
            if _is_current(folder, model, transcoders):
                say(f"{folder}: traced before with these settings, kept")
                continue
            say(f"{folder}: traced before, and model or dictionary have changed since; traced again")
        todo.append((prompt, folder))
    if not todo:
        return 0
    import tracer

    replacement = tracer.load(model, transcoders, device=config.device, dtype=config.dtype, progress=progress)
    failed = 0
    for done, (prompt, folder) in enumerate(todo):
        progress(done, len(todo), "tracing prompts")
        try:
            cost = tracer.expected_cost(prompt.read, replacement, config)
            note(f"{prompt.slug or _ids_text(prompt)}: {_told(cost, replacement)}")
            graph = tracer.attribute(
                prompt.read, replacement, config, slug=prompt.slug, roles=prompt.roles, progress=progress
            )  # fmt: skip
        except CircuitError as error:
            if len(prompts) == 1:
                raise
            failed += 1
            say(f"{prompt.slug or _ids_text(prompt)}: {error}")
            continue
        graph.save(str(folder))
        say(f"{folder}: {len(graph.nodes)} nodes, {len(graph.edges)} edges, graph_id {graph.graph_id}")
    progress(len(todo), len(todo), "tracing prompts")
    return failed


def _told(cost: "Estimate", model: "ReplacementModel") -> str:
    """An estimate for people."""
    from tracer.estimate import flop_per_s

    seconds = cost.seconds(flop_per_s(model.adapter.device, model.adapter.dtype))
    return f"about {seconds:.2g} s of matrix products and {cost.memory_bytes / 1e9:.2g} GB beside the model"


def _is_current(folder: Path, model: str, transcoders: str) -> bool:
    """Whether the graph in this folder was traced with the files that are there now."""
    try:
        made = read_metadata(str(folder))["provenance"]
        return same_files(made["model"]["files"], model) and same_files(made["dictionary"]["files"], transcoders)
    except (GraphFormatError, KeyError, TypeError):
        return False


def _ids_from_text(text: str) -> tuple[int, ...]:
    parts = re.split(r"\s*,\s*|\s+", text.strip())
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise PromptError(
            f"--token-ids {text!r} are no token ids; expected numbers with commas between them, such as 2,17,5. "
            "Correct them, or give the prompt as a text."
        )
    return tuple(map(int, parts))


def _ids_text(prompt: Prompt) -> str:
    return "-".join(map(str, prompt.token_ids))


def _read_text(prompt: Prompt) -> str:
    """What is read, and what is known of it, as a text that no other prompt has."""
    more = [part for part in (prompt.messages, prompt.roles) if part]
    return prompt.text + _ids_text(prompt) + (json.dumps(more) if more else "")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _from_json(line: str, where: str) -> Prompt:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # raises for half a character, which JSON can spell
        token_ids, messages = ([] if row.get(name) is None else row[name] for name in ("token_ids", "messages"))
        if not (isinstance(token_ids, list) and isinstance(messages, list)):
            raise TypeError
        slug, roles = row.get("slug") or "", row.get("roles") or {}
        text = "" if token_ids or messages else row["text"]
        if sum(map(bool, (row.get("text"), token_ids, messages))) > 1:
            raise TypeError
        if not all(isinstance(each, str) for each in (text, slug, *roles.keys(), *roles.values())):
            raise TypeError
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in token_ids):
            raise TypeError
        said = [message["content"] for message in messages]
        if not all(isinstance(each, str) for each in (*said, *(message["role"] for message in messages))):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PromptError(
            f'{where}: {line[:60]!r} is no prompt; expected an object such as {{"text": "Fact: ..."}}, '
            '{"token_ids": [2, 17, 5]} or {"messages": [{"role": "user", "content": "..."}]}. Correct it.'
        ) from None
    first = text or (said[-1] if said else "")
    return Prompt(text, slug or (slug_of(first) if first else ""), roles, tuple(token_ids), tuple(messages))
