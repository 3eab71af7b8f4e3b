"""What every test of the tracer has: no network, one thread."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when huggingface_hub is imported

import torch

torch.set_num_threads(1)
