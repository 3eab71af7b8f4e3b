"""Models and dictionaries by hub name: from a cache laid out as the client does, and from a hub on this machine."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from tests.tracer.small import D_MODEL, N_LAYERS, Dictionary, write_dictionary, write_model, write_tokenizer
from tests.tracer.test_formats import Drawn, gemma_scope, saelens
from tracer.errors import DictionaryError
from tracer.published import find_place
from tracer.transcoders import load_transcoders

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, tracer
from tracer.provenance import same_files
model = tracer.load("someone/tiny", "someone/tiny-clt")
graph = tracer.attribute([2, 5, 7], model)
print(json.dumps([graph.metadata.model, graph.metadata.source_set, graph.metadata.provenance]))
"""
NAMES = ["someone/tiny@v1", f"someone/tiny@{'a' * 40}", "someone/tiny"]
OLD, NEW = "a" * 40, "b" * 40


def cache(home: Path, name: str, folder: Path, revision: str) -> None:
    """Put a folder where the hub's client keeps what it fetched: large files as links to a blob named by its hash."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision)


@pytest.mark.parametrize("asked", ["v1", OLD])
def test_a_model_on_the_hub_is_read_at_the_revision_that_is_named(tmp_path, asked):
    old, new = (write_model(tmp_path / name, "llama") for name in ("old", "new"))
    (new / "config.json").write_text((new / "config.json").read_text() + "\n")
    cache(tmp_path / "home", "someone/tiny", new, NEW)
    place = tmp_path / "home" / "hub" / "models--someone--tiny"
    shutil.copytree(old, place / "snapshots" / OLD)
    (place / "refs" / "v1").write_text(OLD)
    dictionary = write_dictionary(tmp_path / "d", Dictionary())
    script = SCRIPT.replace("someone/tiny-clt", str(dictionary)).replace("someone/tiny", f"someone/tiny@{asked}")
    script += f"print([same_files(graph.metadata.provenance['model']['files'], name) for name in {NAMES}])"
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    *_, about, same = run.stdout.splitlines()
    name, _, provenance = json.loads(about)  # and without a tokenizer, by token ids
    assert (name, provenance["model"]["revision"]) == ("someone/tiny", OLD)
    assert json.loads(same.lower()) == [True, True, False]  # so a file of prompts is resumed at this revision alone


@pytest.mark.skipif(sys.platform == "win32", reason="the hub's cache has no links on Windows")
def test_hub_names_are_read_from_the_cache_with_their_revision(tmp_path):
    model = write_tokenizer(write_model(tmp_path / "m", "llama"), add_bos=True)
    cache(tmp_path / "home", "someone/tiny", model, "a" * 40)
    cache(
        tmp_path / "home", "someone/tiny-clt", write_dictionary(tmp_path / "d", Dictionary(cross_layer=True)), "b" * 40
    )
    blobs = tmp_path / "home" / "hub" / "models--someone--tiny" / "blobs"
    blobs.mkdir()
    weights = blobs.parent / "snapshots" / ("a" * 40) / "model.safetensors"
    shutil.move(weights, blobs / ("c" * 64))
    weights.symlink_to(blobs / ("c" * 64))

    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    name, source_set, provenance = json.loads(run.stdout.splitlines()[-1])
    assert (name, source_set) == ("someone/tiny", "someone/tiny/someone/tiny-clt")
    assert (provenance["model"]["revision"], provenance["dictionary"]["revision"]) == ("a" * 40, "b" * 40)
    assert provenance["model"]["files"]["model.safetensors"] == "c" * 64  # taken from the cache, not read again


@dataclass
class Hub:
    """A hub on this machine, with the part of its interface that the client asks for; it remembers what was fetched."""

    home: Path
    repos: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Folder by repository and commit; the last commit is `main`."""
    fetched: list[str] = field(default_factory=list)
    up: bool = True

    def answer(self, path: str) -> tuple[int, object]:
        """Status, and an object for JSON, or commit and bytes of a file."""
        file = re.match(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        about = re.match(r"/api/models/([^/]+/[^/?]+)(?:/(revision|tree)/([^/?]+))?", path)
        match = file or about
        commits = self.repos.get(match[1], {}) if match and self.up else {}
        if match is None or not commits:
            return 404 if self.up else 503, {"error": "no such repository"}
        told = match[2] if file else match[3]
        commit = list(commits)[-1] if told in (None, "main") else told
        if commit not in commits:
            return 404, {"error": "no such revision"}
        if file:
            return 200, (commit, (commits[commit] / file[3]).read_bytes())
        files = [path for path in sorted(commits[commit].rglob("*")) if path.is_file()]
        names = {path.relative_to(commits[commit]).as_posix(): path.stat().st_size for path in files}
        if match[2] == "tree":
            return 200, [{"type": "file", "path": n, "size": size, "oid": "0" * 40} for n, size in names.items()]
        return 200, {"id": match[1], "sha": commit, "siblings": [{"rfilename": name} for name in names], "tags": []}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    here = Hub(tmp_path / "cache")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET(head=True)

        def do_GET(self, head: bool = False) -> None:
            status, answer = here.answer(self.path)
            if isinstance(answer, tuple) and not head:
                here.fetched.append(self.path.partition("/resolve/")[2].partition("/")[2])
            body = answer[1] if isinstance(answer, tuple) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if isinstance(answer, tuple):
                self.send_header("X-Repo-Commit", answer[0])
                self.send_header("ETag", f'"{hash((self.path, len(body))) & 0xFFFFFFFF:040x}"')
            self.end_headers()
            if not head:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here.home))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield here
    server.shutdown()


def publish(hub: Hub, repo: str, commit: str, folder: Path) -> Path:
    hub.repos.setdefault(repo, {})[commit] = folder
    return folder


def test_only_the_files_of_the_dictionary_are_fetched(hub, tmp_path):
    folder = publish(hub, "mwhanna/tiny-plt", NEW, write_dictionary(tmp_path / "plt", Dictionary()))
    (folder / "labels.csv").write_text("layer,index,where,text\n")
    for other in ("features/layer_0.bin", "old/layer_0.safetensors", "README.md", "optimizer.pt"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_text("large")
    dictionary = load_transcoders("mwhanna/tiny-plt")
    assert set(hub.fetched) == {"config.yaml", "labels.csv", *(f"layer_{i}.safetensors" for i in range(N_LAYERS))}
    assert dictionary.name == "mwhanna/tiny-plt" and dictionary.revisions == {"mwhanna/tiny-plt": NEW}
    assert dictionary.activations(0, torch.randn(2, D_MODEL)).shape[0] == 2


def test_a_revision_is_fetched_and_kept_apart_from_the_newest(hub, tmp_path):
    for seed, commit in enumerate((OLD, NEW)):
        folder = write_dictionary(tmp_path / commit, Dictionary(cross_layer=True), seed=seed)
        publish(hub, "mntss/tiny-clt", commit, folder)
    newest, named, pinned = (
        load_transcoders("mntss/tiny-clt"),
        load_transcoders(f"mntss/tiny-clt@{OLD}"),
        load_transcoders("mntss/tiny-clt", revision=OLD),
    )
    assert newest.revisions["mntss/tiny-clt"] == NEW and named.revisions["mntss/tiny-clt"] == OLD
    assert torch.equal(named.bias_LD(), pinned.bias_LD()) and not torch.equal(named.bias_LD(), newest.bias_LD())
    with pytest.raises(DictionaryError, match="name two revisions; expected one"):
        load_transcoders(f"mntss/tiny-clt@{OLD}", revision=NEW)


def test_one_folder_of_a_repository(hub, tmp_path):
    repo = tmp_path / "repo"
    saelens(repo / "small", Drawn())
    saelens(repo / "large", Drawn())
    publish(hub, "someone/sets", NEW, repo)
    assert load_transcoders("someone/sets/small").name == "someone/sets/small"
    assert all(name.startswith("small/") for name in hub.fetched) and len(hub.fetched) == 2 * N_LAYERS
    with pytest.raises(DictionaryError, match=r"both .* and .* are of layer 0; expected one of each"):
        load_transcoders("someone/sets")
    assert not any(name.endswith("large/blocks.0.mlp.hook_in/sae_weights.safetensors") for name in hub.fetched)


def test_weights_may_lie_in_another_repository_at_a_revision(hub, tmp_path):
    weights = gemma_scope(tmp_path / "weights", Drawn(with_skip=False))
    (weights / "config.yaml").unlink()
    publish(hub, "google/tiny-scope", OLD, weights)
    publish(hub, "google/tiny-scope", NEW, tmp_path)  # where nothing is any more
    listed = [
        f"hf://google/tiny-scope/layer_{i}/width_16k/average_l0_{76 - i}/params.npz?revision={OLD}"
        for i in range(N_LAYERS)
    ]
    index = tmp_path / "index"
    index.mkdir()
    hooks = {"feature_input_hook": "ln2.hook_normalized", "feature_output_hook": "hook_mlp_out"}
    (index / "config.yaml").write_text(json.dumps({"model_kind": "transcoder_set", "transcoders": listed, **hooks}))
    publish(hub, "mntss/tiny-scope-transcoders", NEW, index)
    dictionary = load_transcoders("mntss/tiny-scope-transcoders")
    assert dictionary.revisions == {"mntss/tiny-scope-transcoders": NEW, "google/tiny-scope": OLD}
    kept = np.load(weights / "layer_1/width_16k/average_l0_75/params.npz")["W_dec"]
    assert np.array_equal(dictionary.decoder_rows(1, torch.tensor([6]))[0, 0], kept[6])
    assert len(dictionary.files) == N_LAYERS + 1


def test_what_was_fetched_is_read_without_the_hub(hub, tmp_path, monkeypatch):
    publish(hub, "someone/tiny", NEW, write_dictionary(tmp_path / "plt", Dictionary()))
    once = load_transcoders("someone/tiny").bias_LD()
    hub.fetched.clear()
    hub.up = False
    assert torch.equal(load_transcoders("someone/tiny").bias_LD(), once)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.up = True
    assert torch.equal(load_transcoders("someone/tiny").bias_LD(), once) and not hub.fetched
    hub.repos["someone/other"] = hub.repos["someone/tiny"]
    with pytest.raises(DictionaryError, match=r"'someone/other': neither a folder here nor a dictionary on the hub"):
        load_transcoders("someone/other")
    assert not hub.fetched


def test_a_name_that_the_hub_does_not_know_is_told_with_published_ones(hub):
    with pytest.raises(DictionaryError, match=r"'mntss/gemma-2-2b-clt@v1': neither .*mntss/clt-gemma-2-2b-426k"):
        load_transcoders("mntss/gemma-2-2b-clt@v1")


def test_a_repository_of_many_sets_says_where_they_are(hub, tmp_path):
    repo = tmp_path / "repo"
    for name in ("width_16k", "width_262k"):
        write_dictionary(repo / "transcoder_all" / name, Dictionary())
    publish(hub, "mwhanna/many", NEW, repo)
    with pytest.raises(DictionaryError, match=r"which are in transcoder_all/width_16k, transcoder_all/width_262k"):
        load_transcoders("mwhanna/many")
    assert not hub.fetched
    assert load_transcoders("mwhanna/many/transcoder_all/width_262k").n_layers == N_LAYERS


def test_shortcuts_are_circuit_tracers(hub, tmp_path):
    publish(hub, "mntss/transcoder-Llama-3.2-1B", NEW, write_dictionary(tmp_path / "plt", Dictionary()))
    assert load_transcoders("llama").name == "mntss/transcoder-Llama-3.2-1B"


def test_a_dictionary_that_changes_while_it_is_fetched_is_refused(hub, tmp_path):
    publish(hub, "someone/tiny", OLD, write_dictionary(tmp_path / "old", Dictionary()))
    place = find_place("someone/tiny")
    publish(hub, "someone/tiny", NEW, write_dictionary(tmp_path / "new", Dictionary(), seed=1))
    with pytest.raises(DictionaryError, match=f"from commit {OLD} to {NEW}; expected one state. Try again"):
        place.fetch(["config.yaml"])
