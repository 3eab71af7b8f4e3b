"""Models and dictionaries by hub name, from a cache laid out as the hub's client does; nothing is downloaded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracer.small import Dictionary, write_dictionary, write_model, write_tokenizer

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, tracer
model = tracer.load("someone/tiny", "someone/tiny-clt")
graph = tracer.attribute([2, 5, 7], model)
print(json.dumps([graph.metadata.model, graph.metadata.source_set, graph.metadata.provenance]))
"""


def cache(home: Path, name: str, folder: Path, revision: str) -> None:
    """Put a folder where the hub's client keeps what it fetched: large files as links to a blob named by its hash."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision)


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
