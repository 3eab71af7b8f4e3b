"""Place: where a dictionary's files are, a folder here or a folder of a repository on the hub, fetched file by file.

Also the table of published sets, for hints; nothing in it is fetched unless it is named.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from tracer.errors import DictionaryError

SUFFIXES = (".safetensors", ".npz", ".yaml", ".json", ".csv")
DEEPEST = 4  # folders; Gemma Scope has layer, width and sparsity, one in another


@dataclass(frozen=True)
class PublishedSet:
    """A feature dictionary that others have published."""

    name: str
    """On the hub."""
    model: str
    """The model it was trained on, on the hub."""
    kind: str
    """PLT or CLT, and how many features it has."""
    license: str = ""
    """Where known; empty: see its page."""
    k: int | None = None
    """Of TopK features, where its config.yaml does not tell it."""


PUBLISHED = (  # names and models as circuit-tracer lists them
    PublishedSet("mntss/gemma-scope-transcoders", "google/gemma-2-2b", "PLT, 16k a layer"),
    PublishedSet("mwhanna/gemma-scope-transcoders", "google/gemma-2-2b", "PLT, 16k a layer"),
    PublishedSet("mntss/clt-gemma-2-2b-426k", "google/gemma-2-2b", "CLT, 426k"),
    PublishedSet("mntss/clt-gemma-2-2b-2.5M", "google/gemma-2-2b", "CLT, 2.5M"),
    PublishedSet("mntss/transcoder-Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "PLT, 131k a layer"),
    PublishedSet("mntss/clt-llama-3.2-1b-524k", "meta-llama/Llama-3.2-1B", "CLT, 524k"),
    PublishedSet("EleutherAI/skip-transcoder-Llama-3.2-1B-131k", "meta-llama/Llama-3.2-1B", "PLT, TopK, 131k a layer"),
    PublishedSet(
        *("facebook/crv-8b-instruct-transcoders", "meta-llama/Llama-3.1-8B-Instruct", "PLT, TopK", "cc-by-nc-4.0", 128)
    ),
    PublishedSet("mwhanna/qwen3-0.6b-transcoders-lowl0", "Qwen/Qwen3-0.6B", "PLT, 164k a layer"),
    PublishedSet("mwhanna/qwen3-1.7b-transcoders-lowl0", "Qwen/Qwen3-1.7B", "PLT"),
    PublishedSet("mwhanna/qwen3-4b-transcoders", "Qwen/Qwen3-4B", "PLT"),
    PublishedSet("mwhanna/qwen3-8b-transcoders", "Qwen/Qwen3-8B", "PLT"),
    PublishedSet("mwhanna/qwen3-14b-transcoders-lowl0", "Qwen/Qwen3-14B", "PLT"),
    PublishedSet("mntss/clt-131k", "openai/gpt-oss-20b", "CLT, 131k a layer"),
    *(
        PublishedSet(f"mwhanna/gemma-scope-2-{size}-{tuned}", f"google/gemma-3-{size}-{tuned}", "PLT, several sets")
        for size in ("270m", "1b", "4b", "12b", "27b")
        for tuned in ("pt", "it")
    ),
)
SHORTCUTS = {"gemma": "mwhanna/gemma-scope-transcoders", "llama": "mntss/transcoder-Llama-3.2-1B"}  # as circuit-tracer


def published_for(model: str) -> list[str]:
    """Names of the sets published for this model or one it was made from, given by its hub name or that's last part.

    >>> published_for("google/gemma-2-2b")[0], published_for("my-model"), published_for("4b")
    ('mntss/gemma-scope-transcoders', [], [])
    """
    return [about.name for about in PUBLISHED if _holds(_base(model), _base(about.model))]


def published(name: str) -> PublishedSet | None:
    """What is known of the published set of this name."""
    return next((about for about in PUBLISHED if about.name == name), None)


def same_model(one: str, other: str) -> bool:
    """Whether two names may be of one model, or of a model and its fine-tuned form; owners do not count.

    >>> same_model("google/gemma-2-2b", "unsloth/Gemma-2-2B-it"), same_model("google/gemma-3-1b-pt", "gemma-3-1b-it")
    (True, True)
    >>> same_model("google/gemma-2-2b", "Qwen/Qwen3-4B")
    False
    """
    a, b = _base(one), _base(other)
    return _holds(a, b) or _holds(b, a)


def _base(name: str) -> str:
    """What of a name tells the model."""
    return name.rstrip("/").rpartition("/")[2].casefold().removesuffix("-pt")


def _holds(name: str, part: str) -> bool:
    """Whether this name has that one in it, from one mark between words to another."""
    return re.search(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", name) is not None


class HubName(NamedTuple):
    """The name of a folder or file on the hub."""

    repo: str
    inside: str
    """Path inside the repository; empty: all of it."""
    revision: str | None


def parse_hub_name(text: str) -> HubName | None:
    """`owner/name`, `owner/name/folder`, either with `@revision`, or `hf://owner/name/folder?revision=…`.

    >>> parse_hub_name("a/b/c/d@v1")
    HubName(repo='a/b', inside='c/d', revision='v1')
    >>> parse_hub_name("hf://a/b/c.npz?revision=12ab"), parse_hub_name("folder")
    (HubName(repo='a/b', inside='c.npz', revision='12ab'), None)
    """
    if text.startswith("hf://"):
        parts = urlsplit(text)
        path, revision = parts.netloc + parts.path, parse_qs(parts.query).get("revision", [None])[-1]
        path, at, after = path.partition("@")
        revision = revision or (after if at else None)
    else:
        path, _, revision = text.partition("@")
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/(.+?))?/?", path)
    return HubName(match[1], match[2] or "", revision or None) if match else None


def looks_like_path(text: str) -> bool:
    """Whether this is meant as a place here and not as a name on the hub."""
    path = Path(text).expanduser()
    return path.exists() or path.is_absolute() or text.startswith((".", "~")) or "\\" in text


@dataclass(frozen=True)
class Place:
    """Where a dictionary's files are."""

    name: str
    """Folder name, or hub name with the folder inside the repository."""
    names: tuple[str, ...]
    """Paths of its files, of the kinds that dictionaries are made of, inside `folder`."""
    folder: Path | None = None
    """The folder, for a place here."""
    hub: HubName | None = None
    """The folder, for a place on the hub."""
    commit: str | None = None
    """What `names` are of, for a place on the hub."""

    def fetch(self, names: Sequence[str]) -> Path:
        """The folder that holds these files, which are fetched if they are on the hub and not here yet."""
        if self.folder is not None:
            return self.folder
        assert self.hub is not None
        inside = f"{self.hub.inside}/" if self.hub.inside else ""
        folder = _snapshot(self.hub, [inside + name for name in names])
        if folder.name != self.commit:
            raise DictionaryError(
                f"{self.name} changed on the hub while it was fetched, from commit {self.commit} to {folder.name}; "
                "expected one state. Try again, or name a revision."
            )
        return folder / self.hub.inside


def find_place(folder_or_name: str | os.PathLike[str], revision: str | None = None) -> Place:
    """The folder here, or the folder of this name on the hub, of which only the list of files is fetched.

    Raises:
        DictionaryError: There is neither, or the hub does not answer and nothing of it is kept here.
    """
    text = os.fspath(folder_or_name)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return Place(path.resolve().name, tuple(_names_under(path)), folder=path.resolve())
    hub = None if looks_like_path(text) else parse_hub_name(SHORTCUTS.get(text, text))
    if hub is None:
        raise DictionaryError(
            f"{text!r}: no such folder; expected a dictionary folder, or a hub name such as `owner/name`, "
            "`owner/name/folder` or `owner/name@revision`. Check the path."
        )
    if revision and hub.revision and revision != hub.revision:
        raise DictionaryError(
            f"{text!r} and revision={revision!r} name two revisions; expected one. Leave one of them out."
        )
    hub = hub._replace(revision=revision or hub.revision)
    commit, names = _listed(hub)
    inside = f"{hub.inside}/" if hub.inside else ""
    here = tuple(n.removeprefix(inside) for n in names if n.startswith(inside) and n.endswith(SUFFIXES))
    if not here:
        raise DictionaryError(
            f"{text!r} holds no files of a dictionary; expected {', '.join(SUFFIXES[:3])} files{folders_hint(names)}. "
            "Name the folder of the repository that holds them."
        )
    return Place(f"{hub.repo}/{hub.inside}".rstrip("/"), here, hub=hub, commit=commit)


def fetch_listed(urls: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """The files of these `hf://` addresses, fetched if they are not here yet, and the commit of each repository."""
    hubs: list[HubName] = []
    for url in urls:
        hub = parse_hub_name(url)
        if hub is None or not hub.inside:
            raise DictionaryError(
                f"{url!r} is no address of a file; expected hf://owner/name/path or hf://owner/name/path?revision=… "
                "Correct `transcoders` in config.yaml."
            )
        hubs.append(hub)
    folders = {}
    for repo, revision in {(hub.repo, hub.revision) for hub in hubs}:
        files = [hub.inside for hub in hubs if (hub.repo, hub.revision) == (repo, revision)]
        folders[repo, revision] = _snapshot(HubName(repo, "", revision), files)
    paths = [folders[hub.repo, hub.revision] / hub.inside for hub in hubs]
    return paths, {repo: folder.name for (repo, _), folder in folders.items()}


def _names_under(folder: Path) -> list[str]:
    patterns = ("/".join(["*"] * depth) for depth in range(1, DEEPEST + 1))
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.suffix in SUFFIXES)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _listed(hub: HubName) -> tuple[str | None, list[str]]:
    """The commit and all paths of a repository; of what is kept here, if the hub is out of reach."""
    from huggingface_hub import HfApi, snapshot_download  # only a hub name needs it

    try:
        info = HfApi().model_info(hub.repo, revision=hub.revision)
        return info.sha, [file.rfilename for file in info.siblings or []]
    except Exception as online:  # the hub's client raises a dozen kinds, some not its own
        try:
            folder = Path(snapshot_download(hub.repo, revision=hub.revision, local_files_only=True))
        except Exception:
            raise _missing(hub, online) from online
    return folder.name, [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def _snapshot(hub: HubName, names: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub.repo, revision=hub.revision, allow_patterns=list(names)))
    except Exception as error:
        raise _missing(hub, error) from error
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise DictionaryError(
            f"{hub.repo} at {hub.revision or 'main'}: {absent[0]} is not there, or not kept here while the hub is "
            "out of reach; expected it among the files of the dictionary. Check the revision and the connection."
        )
    return folder


def _missing(hub: HubName, error: Exception) -> DictionaryError:
    at = f"@{hub.revision}" if hub.revision else ""
    near = get_close_matches(hub.repo, [about.name for about in PUBLISHED], n=3, cutoff=0.5)
    hint = f"; published under such names: {', '.join(near)}" if near else ""
    return DictionaryError(
        f"{hub.repo + at!r}: neither a folder here nor a dictionary on the hub ({' '.join(str(error).split())[:200]}); "
        f"expected one of these. Check the name and the connection{hint}."
    )


def folders_hint(names: Sequence[str]) -> str:
    """Where weights are, for a message about a folder that holds none itself."""
    found = list(dict.fromkeys(n.rpartition("/")[0] for n in names if n.endswith(SUFFIXES[:2]) and "/" in n))
    return f", which are in {', '.join(found[:5])}{' …' if len(found) > 5 else ''}" if found else ""
