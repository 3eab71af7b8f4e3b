"""Trace many prompts into a folder of graphs, resumable, one failed prompt not stopping the rest."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.terminal import ProgressCallback
from tracer.config import TraceConfig
from tracer.errors import CircuitError, PromptError
from tracer.graph import METADATA_FILE


@dataclass(frozen=True)
class Prompt:
    """A text to trace."""

    text: str
    """What the model reads."""
    slug: str
    """Short name for people."""
    roles: dict[str, str] = field(default_factory=dict)
    """Known parts of the prompt, e.g. {"city": "Dallas"}."""


def read_prompts(texts: Sequence[str], file: Path | None) -> list[Prompt]:
    """The prompts given as texts and in a file: a prompt a line, or .jsonl with {"text", "slug"?, "roles"?}.

    Raises:
        PromptError: There is none, or the file cannot be read.
    """
    prompts = [Prompt(text, slug_of(text)) for text in texts]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"{file}: {error}; expected a text file with one prompt a line. Check it.") from None
        jsonl = file.suffix == ".jsonl"
        prompts += [
            _from_json(line, f"{file.name}, line {number}") if jsonl else Prompt(line, slug_of(line))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
    if not prompts:
        raise PromptError("no prompt was given; expected a text or --file with one prompt a line. Give at least one.")
    return prompts


def slug_of(text: str) -> str:
    """A short name made of the first words of a text.

    >>> slug_of("Fact: the capital of the state containing Dallas is")
    'fact-the-capital-of-the-state-containing-dallas-is'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "prompt"


def trace_prompts(
    prompts: Sequence[Prompt],
    model: str,
    transcoders: str,
    config: TraceConfig,
    out: Path | None,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> int:
    """Trace each prompt and save its graph; returns how many could not be traced.

    Args:
        out: With one prompt the folder of its graph, which is replaced; with more the folder that receives one folder
            each, named after prompt and settings; what is there already is kept. `graphs` if not given.
    """
    folders = _folders(prompts, model, transcoders, config, out)
    todo = []
    for prompt, folder in zip(prompts, folders, strict=True):
        if folder != out and (folder / METADATA_FILE).exists():  # a folder of ours is named after what was asked
            say(f"{folder}: traced before with these settings, kept")
        else:
            todo.append((prompt, folder))
    if not todo:
        return 0
    import tracer

    replacement = tracer.load(model, transcoders, device=config.device, dtype=config.dtype)
    failed = 0
    for done, (prompt, folder) in enumerate(todo):
        progress(done, len(todo), "tracing prompts")
        try:
            graph = tracer.attribute(prompt.text, replacement, config, slug=prompt.slug, roles=prompt.roles)
        except CircuitError as error:
            if len(prompts) == 1:
                raise
            failed += 1
            say(f"{prompt.slug}: {error}")
            continue
        graph.save(str(folder))
        say(f"{folder}: {len(graph.nodes)} nodes, {len(graph.edges)} edges, graph_id {graph.graph_id}")
    progress(len(todo), len(todo), "tracing prompts")
    return failed


def _folders(
    prompts: Sequence[Prompt], model: str, transcoders: str, config: TraceConfig, out: Path | None
) -> list[Path]:
    if out is not None and len(prompts) == 1:
        return [out]
    settings = json.dumps([model, transcoders, asdict(config)], sort_keys=True)
    parent = out or Path("graphs")
    return [
        parent / f"{slug_of(prompt.slug)}-{hashlib.sha256((settings + prompt.text).encode()).hexdigest()[:8]}"
        for prompt in prompts
    ]


def _from_json(line: str, where: str) -> Prompt:
    try:
        row = json.loads(line)
        text, slug, roles = row["text"], row.get("slug") or "", row.get("roles") or {}
        if not all(isinstance(each, str) for each in (text, slug, *roles.keys(), *roles.values())):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PromptError(
            f'{where}: {line[:60]!r} is no prompt; expected an object such as {{"text": "Fact: ..."}}. Correct it.'
        ) from None
    return Prompt(text, slug or slug_of(text), roles)
