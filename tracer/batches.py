"""batch_sizes: how many vectors to move through the blocks at once.

The rows of a batch reach as far as its last position, and what lies after a row's own position is work for nothing.
"""

BATCH_BYTES = 2**28  # of gradients under way at once; larger batches are not faster
ENOUGH_ROWS = 2048  # positions x rows from which on products run at full speed
MAX_WASTE = 0.06  # share of a batch's positions that may lie after their rows' own


def batch_sizes(position_B: list[int], batch_size: int, bytes_a_row: int) -> list[int]:
    """How many of these rows, sorted by position, to take at once, again and again.

    A batch ends before the rows that end earlier would cost too much, and before its gradients fill the memory set
    aside for them.

    Args:
        bytes_a_row: Memory that one row takes at one position.
    """
    sizes, start, reached, most = [], 0, 0, BATCH_BYTES / bytes_a_row
    for row, position in enumerate(position_B):
        size, whole = row - start, (row - start + 1) * (position + 1)
        useful = reached + position + 1
        wasteful = size * position_B[max(row - 1, start)] >= ENOUGH_ROWS and useful < (1 - MAX_WASTE) * whole
        if size and (size == batch_size or wasteful or whole > most):
            sizes.append(size)
            start, useful = row, position + 1
        reached = useful
    return [*sizes, len(position_B) - start] if position_B else []
