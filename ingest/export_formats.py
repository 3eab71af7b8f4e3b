"""The names of the formats that a graph can be written in; light, for the command line's help."""

from pathlib import Path
from typing import Literal, get_args

from tracer.errors import SettingError

ExportFormat = Literal["json", "anthropic", "npz", "graphml", "csv", "parquet"]
HOLD_MARKS: tuple[ExportFormat, ...] = ("json", "anthropic", "parquet")  # pins and supernodes; the others have no place
ENDINGS: dict[str, ExportFormat] = {".json": "json", ".json.gz": "json", ".npz": "npz", ".graphml": "graphml"}


def format_of(path: Path) -> ExportFormat:
    """The format that a file name asks for by its ending.

    >>> format_of(Path("austin.json.gz"))
    'json'

    Raises:
        SettingError: None has this ending.
    """
    for ending, format in ENDINGS.items():
        if path.name.lower().endswith(ending):
            return format
    raise SettingError(
        f"{path.name!r} does not say in which format to write; expected an ending of {', '.join(ENDINGS)}. "
        f"Rename it, or choose with --format one of {', '.join(get_args(ExportFormat))}."
    )
