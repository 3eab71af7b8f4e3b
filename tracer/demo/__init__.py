"""The demo model that ships with the project: where its files are, and the scripts that made them.

`python -m tracer.demo` rebuilds all of it from nothing. This module imports no torch, so that whoever only needs
the paths starts fast.
"""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"
MODEL_DIR = SHIPPED / "throughline-demo"  # the folder names the model in graphs
CLT_DIR = SHIPPED / "clt"
PLT_DIR = SHIPPED / "plt"
PROMPTS_FILE = SHIPPED / "prompts.jsonl"
ROLES_FILE = SHIPPED / "roles.json"

__all__ = ["CLT_DIR", "MODEL_DIR", "PLT_DIR", "PROMPTS_FILE", "ROLES_FILE", "SHIPPED"]
