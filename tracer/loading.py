"""load: a model and its feature dictionary, checked against each other before any work."""

import os

from tracer.model import open_model
from tracer.replacement import Progress, ReplacementModel
from tracer.selfcheck import check_adapter
from tracer.transcoders import load_transcoders

LOADING = "loading the model"  # in three steps: the dictionary's headers, the weights, the adapter's check


def load(
    model: str | os.PathLike[str],
    transcoders: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress | None = None,
) -> ReplacementModel:
    """The model and the dictionary at these folders or hub names, ready for `attribute`.

    Args:
        progress: Told (done, total, what) as work goes on.

    Raises:
        UnsupportedModelError: The model cannot be read, has no adapter, or fails its adapter's check.
        DictionaryError: The dictionary cannot be read or belongs to another model.
        SettingError: The device or dtype does not exist here, or its memory does not suffice.
    """
    tell = progress or (lambda done, total, what: None)
    tell(0, 3, LOADING)
    dictionary = load_transcoders(transcoders)  # first: only headers are read, the model takes longer
    tell(1, 3, LOADING)
    adapter = open_model(model, device=device, dtype=dtype, transcoders=dictionary)
    tell(2, 3, LOADING)
    check_adapter(adapter)
    tell(3, 3, LOADING)
    return ReplacementModel(adapter, dictionary)
