"""What to say when memory runs out while a model is loaded or traced: how much was there, and what would fit."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil
import torch

from tracer.errors import SettingError
from tracer.replacement import LocalReplacement

SPARE = 0.7  # of the free memory may be planned with: the rest is for what allocators waste and results take
SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_cpu", "cannot allocate")


@dataclass
class Work:
    """What is being done, filled in as it becomes known."""

    device: torch.device
    batch_size: int
    row_bytes: int = 0
    """Memory that one more row of a batch takes."""
    what: str = "the forward pass"
    """In words, with sizes."""

    def set_rows(self, local: LocalReplacement) -> None:
        """From now on rows are computed: a gradient on both sides of a block, heads in between, and the effects."""
        n_pos, n_sources = local.n_pos, len(local.features) + (local.n_layers + 1) * local.n_pos
        self.row_bytes = local.base_LPD.itemsize * (4 * n_pos * local.base_LPD.shape[-1] + 2 * n_sources)
        self.what = f"rows of {n_pos} tokens and {len(local.features)} active features"


def memory_told(work: Work) -> AbstractContextManager[None]:
    """Turn an allocation that fails inside into one sentence with the remedy.

    Raises:
        SettingError: Memory ran out; the message names a batch_size that fits where that is what takes it.
    """

    def sentence() -> str:
        free = free_bytes(work.device)
        fits = int(SPARE * free / work.row_bytes) if work.row_bytes else work.batch_size
        if fits >= work.batch_size:  # the batch is not what takes it
            remedy = "Shorten the prompt, lower max_feature_nodes, or free memory."
        else:
            remedy = f"Set batch_size={max(1, fits)}." if fits else "Shorten the prompt: not one row fits."
        batch_gb = work.batch_size * work.row_bytes / 1e9
        return (
            f"the memory of {work.device} did not suffice for {work.what} at batch_size {work.batch_size}; "
            f"{free / 1e9:.2f} GB are free, and a batch takes {batch_gb:.2f} GB. {remedy}"
        )

    return _told(sentence)


def load_told(model: str, device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """The same for the weights of a model.

    Raises:
        SettingError: Memory ran out.
    """

    def sentence() -> str:
        half = "Set dtype=bfloat16, which takes half, use" if dtype.itemsize > 2 else "Use"
        return (
            f"the memory of {device} did not suffice for the weights of {model} in "
            f"{str(dtype).removeprefix('torch.')}; {free_bytes(device) / 1e9:.2f} GB are free. {half} another device, "
            "or free memory."
        )

    return _told(sentence)


@contextmanager
def _told(sentence: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise SettingError(sentence()) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch's own for the CPU is a RuntimeError like any other.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(sign in str(error).lower() for sign in SIGNS)


def free_bytes(device: torch.device) -> int:
    """Memory that is free on this device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
