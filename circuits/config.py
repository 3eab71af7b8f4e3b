"""SearchConfig: every choice of one search for circuits, with its default and what it means."""

from dataclasses import dataclass
from typing import Literal, get_args

from tracer.errors import SettingError

Sign = Literal["any", "positive"]
SIGNS: tuple[Sign, ...] = get_args(Sign)
By = Literal["feature", "label", "position", "position-from-end", "supernode"]  # see circuits/aligned.py
LIMIT = 20  # circuits that are shown of all that were found


@dataclass(frozen=True)
class SearchConfig:
    """What counts in a search, and what is shown of each circuit. Command line and page build from this.

    >>> SearchConfig(min_hops=3, max_hops=2)
    Traceback (most recent call last):
    ...
    tracer.errors.SettingError: max_hops is 2; expected at least min_hops, 3. Raise one or lower the other.
    """

    k: int = 5
    """Strongest paths to show of each circuit; 0 for the flow alone."""
    sign: Sign = "any"
    """Count paths of all effects, or of positive ones only."""
    min_hops: int = 1
    """Links that a shown path has at least; the flow is over all paths."""
    max_hops: int | None = None
    """Links that a shown path has at most."""

    def __post_init__(self) -> None:
        check_sign(self.sign)
        check_limits(self.k or 1, self.min_hops, self.max_hops)


def check_sign(sign: str) -> None:
    """Refuse a sign that is none of SIGNS."""
    if sign not in SIGNS:
        raise SettingError(f"sign {sign!r} is unknown; expected {' or '.join(SIGNS)}. Use one of these.")


def check_limits(k: int, min_hops: int, max_hops: int | None) -> None:
    """Refuse limits below 1, and limits on hops that exclude each other."""
    if k < 1:
        raise SettingError(f"k is {k}; expected at least 1. Give a larger one.")
    check_hops(min_hops, max_hops)


def check_hops(min_hops: int, max_hops: int | None) -> None:
    """Refuse limits below 1, and limits on hops that exclude each other."""
    for name, value in (("min_hops", min_hops), ("max_hops", 1 if max_hops is None else max_hops)):
        if value < 1:
            raise SettingError(f"{name} is {value}; expected at least 1. Give a larger one.")
    if max_hops is not None and max_hops < min_hops:
        raise SettingError(
            f"max_hops is {max_hops}; expected at least min_hops, {min_hops}. Raise one or lower the other."
        )
