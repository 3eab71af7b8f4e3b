"""Rebuild the demo model, its dictionaries, labels and prompts from nothing: `python -m tracer.demo [--out DIR]`.

The work happens in a folder beside the target. Only when all stages are done does it take the place of what was
there, so a rebuild that fails or is interrupted loses nothing; run again, it goes on after the last finished stage.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracer.demo import MODEL_DIR, SHIPPED

# What the rebuild replaces; the model card and the measured results beside them are bench/demo_model.py's.
PARTS = (MODEL_DIR.name, "clt", "plt", "prompts.jsonl", "roles.json")


@dataclass(frozen=True)
class Stage:
    """One step of the rebuild."""

    name: str
    """For the progress lines."""

    proof: Path
    """The file it writes last: where it exists, the stage is done."""

    run: Callable[[], object]
    """Does it."""


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that have not run yet, in order, then put the result in its place."""
    parser = argparse.ArgumentParser(
        prog="python -m tracer.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder to replace (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget the stages of an interrupted rebuild")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; on a busy machine 1 is the fastest")
    options = parser.parse_args(arguments)
    work = options.out.with_name(options.out.name + ".rebuild")
    if options.fresh:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    run_stages(stages(work, options.threads))
    put_in_place(work, options.out)
    _say(f"Rebuilt {options.out} in {(time.monotonic() - started) / 60:.1f} minutes.")


def stages(work: Path, threads: int) -> list[Stage]:
    """The whole rebuild, in order."""
    import torch

    from tracer.demo import label_features, prompts, train_model, train_transcoders

    torch.set_num_threads(threads)
    model, clt, plt = work / MODEL_DIR.name, work / "clt", work / "plt"
    clt_recipe, plt_recipe = train_transcoders.CLT_RECIPE, train_transcoders.PLT_RECIPE
    return [
        Stage("model", model / "model.safetensors", lambda: train_model.train(model, report=_say)),
        Stage(
            "cross-layer transcoders",
            clt / "config.yaml",
            lambda: train_transcoders.train(model, clt, clt_recipe, report=_say),
        ),
        Stage(
            "per-layer transcoders",
            plt / "config.yaml",
            lambda: train_transcoders.train(model, plt, plt_recipe, report=_say),
        ),
        Stage("labels, cross-layer", clt / "labels.csv", lambda: label_features.label(model, clt, report=_say)),
        Stage("labels, per-layer", plt / "labels.csv", lambda: label_features.label(model, plt, report=_say)),
        Stage("prompts and roles", work / "roles.json", lambda: prompts.write(model, work)),
    ]


def run_stages(todo: list[Stage]) -> None:
    """Run each stage whose proof is missing."""
    for number, stage in enumerate(todo, start=1):
        heading = f"[{number}/{len(todo)}] {stage.name}"
        if stage.proof.exists():
            _say(f"{heading}: done before ({stage.proof})")
            continue
        _say(heading)
        started = time.monotonic()
        stage.run()
        _say(f"{heading}: {(time.monotonic() - started) / 60:.1f} minutes")


def put_in_place(work: Path, out: Path) -> None:
    """Move the finished parts over the old ones, and remove the work folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        old = out / name
        if old.is_dir():
            shutil.rmtree(old)
        (work / name).replace(old)
    work.rmdir()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
