"""batch_sizes: how many vectors to move through the blocks at once.

The rows of a batch reach as far as its last position, and what lies after a row's own position is work for nothing.
"""

BATCH_BYTES = 2**26  # of gradients under way at once; larger batches leave the cache and are slower
FEW_ROWS = 32  # of so few rows a batch may take more, or what is laid out for each batch costs more than the rest
LARGE_BATCH_BYTES = 2**28  # but never more than this
ENOUGH_ROWS = 2048  # positions x rows from which on products run at full speed
MAX_WASTE = 0.06  # share of a batch's positions that may lie after their rows' own


def batch_bytes(row_bytes: float) -> float:
    """Memory set aside for the gradients of a batch whose rows take so much each."""
    return min(max(BATCH_BYTES, FEW_ROWS * row_bytes), LARGE_BATCH_BYTES)


def batch_sizes(position_B: list[int], batch_size: int, bytes_a_row: int) -> list[int]:
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
        wasteful = size * position_B[max(row - 1, start)] >= ENOUGH_ROWS and useful < (1 - MAX_WASTE) * whole
        row_bytes = (position + 1) * bytes_a_row
        if size and (size == batch_size or wasteful or (size + 1) * row_bytes > batch_bytes(row_bytes)):
            sizes.append(size)
            start, useful = row, position + 1
        reached = useful
    return [*sizes, len(position_B) - start] if position_B else []
