"""StoredTensor: one tensor of a file, of which only the rows that are asked for are read.

A safetensors file begins with the length of its header (8 bytes, little endian) and the header, JSON that tells the
type, shape and place of each tensor; an npz archive holds one npy file, itself a header and values, for each tensor.
Both keep values row after row, so a row is one read at a place that is known once the header is.
"""

import json
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from tracer.errors import DictionaryError

# Bytes read at a time. On the CPU a block stays in its cache: 16,384 x 2,304 weights in float32 times 10 tokens took
# 28 ms of one core from the system's file cache in blocks of 2 MB, 73 ms in blocks of 64 MB, 30 ms from memory of our
# own; so none of our own is kept. A GPU wants fewer, larger copies.
BLOCK_BYTES = 2 << 20
BLOCK_BYTES_GPU = 64 << 20
MIN_INNER_ROWS = 32  # fewer rows of a transposed tensor at a time make each product wait for memory
LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file, known by its place and read on demand."""

    path: Path
    key: str
    shape: tuple[int, ...]
    """As it is to be seen; see `transposed` and `first`."""
    dtype: torch.dtype
    start: int
    """The byte of the file where its values begin."""
    transposed: bool = False
    """Whether the file holds columns where rows are seen; only tensors with two axes are."""
    first: int = 0
    """How many entries of the second axis come before those that are seen."""

    @property
    def T(self) -> "StoredTensor":
        """The same tensor with rows and columns exchanged."""
        return replace(self, shape=self.shape[::-1], transposed=not self.transposed)

    def after(self, first: int) -> "StoredTensor":
        """The same tensor without the first entries of its second axis."""
        return replace(self, shape=(self.shape[0], self.shape[1] - first, *self.shape[2:]), first=self.first + first)

    @property
    def where(self) -> str:
        """File and name, for messages."""
        return f"{self.path.parent.name}/{self.path.name}: {self.key}"

    def read(self, rows: Tensor | None = None) -> Tensor:
        """The tensor, or only these rows of it; of the file no more is read, where rows lie row by row."""
        if rows is None:
            return self._whole() if not self.first else self.read(torch.arange(self.shape[0]))
        once, where = rows.cpu(), None
        if not (once.diff() > 0).all():  # a feature may be active at many positions
            once, where = once.unique(return_inverse=True)
        out = torch.empty(len(once), *self.shape[1:], dtype=self.dtype)
        if self.transposed:
            for at, block in self._blocks(BLOCK_BYTES):
                out[:, at : at + len(block)] = block[:, once].T
        else:
            self._read_rows(once, out)
        return out if where is None else out[where]

    def _whole(self) -> Tensor:
        out = torch.empty(self.shape[::-1] if self.transposed else self.shape, dtype=self.dtype)
        with self.path.open("rb", buffering=0) as file:
            read_into(file, self.start, bytes_of(out))
        return out.T if self.transposed else out

    def product(self, x_PD: Tensor) -> Tensor:
        """(P, rows) x @ tensor.T; the tensor passes by in blocks and is never held as a whole."""
        out = x_PD.new_zeros(len(x_PD), self.shape[0])
        for at, block in self._blocks(BLOCK_BYTES if x_PD.device.type == "cpu" else BLOCK_BYTES_GPU):
            block, here = block.to(x_PD), slice(at, at + len(block))
            if self.transposed:
                out.addmm_(x_PD[:, here], block)
            else:
                out[:, here] = x_PD @ block.T
        return out

    def _read_rows(self, row_A: Tensor, out: Tensor) -> None:
        """Rows in ascending order; neighbours are read at once."""
        size = out[0].numel() * self.dtype.itemsize if len(out) else 0
        skipped = self.first * prod(self.shape[2:]) * self.dtype.itemsize
        apart = row_A.diff() != 1 if not skipped else torch.ones(max(len(row_A) - 1, 0), dtype=torch.bool)
        begins = [0, *(apart.nonzero()[:, 0] + 1).tolist(), len(row_A)] if len(row_A) else []
        rows, memory = row_A.tolist(), bytes_of(out)
        with self.path.open("rb", buffering=0) as file:
            for a, b in pairwise(begins):
                start = self.start + rows[a] * (size + skipped) + skipped
                read_into(file, start, memory[a * size : b * size])

    def _blocks(self, n_bytes: int) -> Iterator[tuple[int, Tensor]]:
        """The tensor as it lies in the file, some rows at a time, with the number of the first; blocks share memory."""
        n_rows, *rest = self.shape[::-1] if self.transposed else self.shape
        step = max(MIN_INNER_ROWS, n_bytes // max(prod(rest) * self.dtype.itemsize, 1))
        buffer = torch.empty(min(step, n_rows), *rest, dtype=self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for at in range(0, n_rows, step):
                block = buffer[: n_rows - at]
                read_into(file, self.start + at * prod(rest) * self.dtype.itemsize, bytes_of(block))
                yield at, block


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a tensor."""
    return memoryview(tensor.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # arrays are buffers


def read_into(file: BinaryIO, start: int, left: memoryview) -> None:
    """Fill memory from this place of a file; everything that is read of weights is read here."""
    while left:
        n = _read_at(file, start, left)
        if not n:
            raise _unreadable(Path(file.name), "it ends before its tensors do")
        start, left = start + n, left[n:]


def _read_at(file: BinaryIO, start: int, left: memoryview) -> int:
    if hasattr(os, "preadv"):  # one call for two
        return os.preadv(file.fileno(), (left,), start)
    file.seek(start)
    return file.readinto(left)  # type: ignore[attr-defined]  # files opened without buffering have it


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors or npz file, by name; only headers are read.

    Raises:
        DictionaryError: It is not such a file, is cut short, or its numbers are of a kind that is not computed with.
    """
    try:
        return _npz_tensors(path) if path.suffix == ".npz" else _safetensors(path)
    except DictionaryError:
        raise
    except Exception as error:  # damaged headers make json, zipfile and NumPy raise a dozen kinds
        raise _unreadable(path, " ".join(str(error).split())[:200] or type(error).__name__) from None


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        if length > min(LARGEST_HEADER, path.stat().st_size - 8):
            raise ValueError(f"its header would be {length} bytes long")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = {}
    for key, about in header.items():
        begin, end = about["data_offsets"]
        if min(about["shape"], default=0) < 0 or begin < 0:
            raise ValueError(f"{key} has the shape {about['shape']}")
        tensor = StoredTensor(path, key, tuple(about["shape"]), _dtype(path, key, about["dtype"]), 8 + length + begin)
        if end - begin != prod(tensor.shape) * tensor.dtype.itemsize or 8 + length + end > path.stat().st_size:
            raise ValueError(f"{key} is not all there")
        found[key] = tensor
    return found


def _npz_tensors(path: Path) -> dict[str, StoredTensor]:
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise DictionaryError(
                    f"{path.parent.name}/{path.name}: {key} is compressed; expected an archive whose rows can be read "
                    "one by one. Save it again with numpy.savez."
                )
            file.seek(member.header_offset + 26)  # the lengths of name and extra field, in this place's own header
            file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
            shape, by_column, dtype = _npy_header(file)
            kind = _dtype(path, key, f"F{dtype.itemsize * 8}" if dtype.kind == "f" and dtype.isnative else str(dtype))
            if by_column and len(shape) != 2:
                raise ValueError(f"{key} of the shape {shape} lies column by column")
            if file.tell() + prod(shape) * kind.itemsize > path.stat().st_size:
                raise ValueError(f"{key} is not all there")
            tensor = StoredTensor(path, key, shape[::-1] if by_column else shape, kind, file.tell())
            found[key] = tensor.T if by_column else tensor
    return found


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = reader(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    return shape, by_column, dtype


def _dtype(path: Path, key: str, name: str) -> torch.dtype:
    with suppress(KeyError):
        return DTYPES[name]
    raise DictionaryError(
        f"{path.parent.name}/{path.name}: {key} holds {name}; expected one of {', '.join(DTYPES)}. "
        "Convert the dictionary."
    )


def _unreadable(path: Path, reason: str) -> DictionaryError:
    return DictionaryError(
        f"{path.parent.name}/{path.name} cannot be read ({reason}); expected a safetensors file or an npz archive. "
        "Fetch the dictionary again."
    )
