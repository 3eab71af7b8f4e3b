"""batch_sizes: how many vectors to move through the blocks at once.

The rows of a batch reach as far as its last position, and what lies after a row's own position is work for nothing.
"""

from dataclasses import dataclass

import torch

FEW_ROWS = 32  # of so few rows a batch may take more, or what is laid out for each batch costs more than the rest
MAX_WASTE = 0.06  # share of a batch's positions that may lie after their rows' own


@dataclass(frozen=True)
class Room:
    """What a device has for the rows that are under way at once."""

    n_bytes: int
    """Of gradients."""
    most_bytes: int
    """The same where rows are so large that few would fit."""
    enough_rows: int
    """Positions x rows from which on products run at full speed."""
    write_bytes: int
    """What sources write is laid out for products once, up to here; beyond, at each use."""
    many_small: bool = True
    """Whether many small products run as fast as few large ones that also multiply zeros."""

    def bytes_for(self, row_bytes: float) -> float:
        """Memory set aside for the gradients of a batch whose rows take so much each."""
        return min(max(self.n_bytes, FEW_ROWS * row_bytes), self.most_bytes)


CPU = Room(2**26, 2**28, 2**11, 2**29)  # larger batches leave the cache and are slower
GPU = Room(2**31, 2**31, 2**14, 2**33, many_small=False)  # smaller ones leave most of it idle


def room_of(device: torch.device) -> Room:
    """The room on this device."""
    return CPU if device.type == "cpu" else GPU


def batch_sizes(position_B: list[int], batch_size: int, bytes_a_row: int, room: Room = CPU) -> list[int]:
    """How many of these rows, sorted by position, to take at once, again and again.

    A batch ends before the rows that end earlier would cost too much, and before its gradients fill the memory set
    aside for them.

    Args:
        bytes_a_row: Memory that one row takes at one position.
    """
    sizes, start, reached = [], 0, 0
    for row, position in enumerate(position_B):
        size, whole = row - start, (row - start + 1) * (position + 1)
        useful = reached + position + 1
        wasteful = size * position_B[max(row - 1, start)] >= room.enough_rows and useful < (1 - MAX_WASTE) * whole
        row_bytes = (position + 1) * bytes_a_row
        if size and (size == batch_size or wasteful or (size + 1) * row_bytes > room.bytes_for(row_bytes)):
            sizes.append(size)
            start, useful = row, position + 1
        reached = useful
    return [*sizes, len(position_B) - start] if position_B else []
