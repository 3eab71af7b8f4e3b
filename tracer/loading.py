"""load: a model and its feature dictionary, checked against each other before any work."""

import os

from tracer.model import load_model
from tracer.replacement import ReplacementModel
from tracer.transcoders import load_transcoders


def load(
    model: str | os.PathLike[str],
    transcoders: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "float32",
) -> ReplacementModel:
    """The model and the dictionary at these folders or hub names, ready for `attribute`.

    Raises:
        UnsupportedModelError: The model cannot be read, has no adapter, or fails its adapter's check.
        DictionaryError: The dictionary cannot be read or belongs to another model.
        SettingError: The device or dtype does not exist here.
    """
    dictionary = load_transcoders(transcoders)  # first: only headers are read, the model takes longer
    adapter = load_model(model, device=device, dtype=dtype, fits=dictionary.check_fits)
    return ReplacementModel(adapter, dictionary)
