"""A tape cut in time: rows for training, a purge, and later rows for evaluation."""

from dataclasses import dataclass
from typing import Literal, get_args

from exec_env.base.errors import InputError
from exec_env.base.validation import is_finite, require_count

Part = Literal["training", "evaluation"]


@dataclass(frozen=True)
class Split:
    """Rows for training and rows for evaluation.

    Whatever a problem takes from the tape as a whole, such as averages, comes from the training rows.

    Source of the purge: López de Prado (2018), "Advances in Financial Machine Learning", section 7.4.1.

    >>> split = Split.at(0.6, 400).purged(30)
    >>> split.rows("training"), split.rows("evaluation")
    ((0, 240), (270, 400))
    """

    training: int
    """Rows from the first on that are for training."""
    length: int
    """Rows of the tape."""
    purge: int = 0
    """Rows after these that nobody plays, so that what the two parts share has died away."""

    @classmethod
    def at(cls, share: float, length: int) -> "Split":
        """The first ``share`` of the rows for training.

        Raises:
            InputError: for what is no share, or leaves fewer than two rows for training.
        """
        if not is_finite(share) or not 0 < share < 1:
            raise InputError(f"split = {share!r}: must be between 0 and 1, the part of the rows that is for training")
        training = int(share * length + 1e-9)
        if training < 2:
            raise InputError(f"split = {share:g}: leaves {training} of {length} rows for training; choose more")
        return cls(training, length)

    def purged(self, purge: int) -> "Split":
        """The same split with a purge of ``purge`` rows.

        Raises:
            InputError: for what is no number of rows.
        """
        require_count(0, tape_purge=purge)
        return Split(self.training, self.length, int(purge))

    def rows(self, part: Part) -> tuple[int, int]:
        """The first row of a part, and the first after it."""
        if part == "training":
            return 0, self.training
        return min(self.training + self.purge, self.length), self.length


def check_part(part: str) -> None:
    """Refuse what is no part of a split.

    Raises:
        InputError: naming what is allowed.
    """
    if part not in get_args(Part):
        raise InputError(f"tape_part = {part!r}: must be 'training' or 'evaluation'")
