"""Which town, drive and moment a sample is; towns, and with them all assets, are split apart."""

from __future__ import annotations

from dataclasses import dataclass

from densecl.data.streets.drive import Drive, build_drive
from densecl.data.streets.path import FRAMES, GAP
from densecl.errors import UsageError

WORLD_VERSION = "1"
"""Part of every result's hash: changed whenever the same seed gives another world."""

CLIP_GAP = 0.15
"""Seconds between the frames of a clip."""

TOWNS: dict[str, tuple[str, range]] = {
    "pretrain": ("home", range(0, 12)),
    "train": ("home", range(0, 12)),
    "val": ("val", range(12, 15)),
    "test": ("test", range(15, 19)),
}
"""Split -> (asset group, town numbers). ``train`` drives elsewhere in the pretraining's towns."""

LENGTHS = {"pretrain": 2000, "train": 400, "val": 100, "test": 200}
"""Default number of samples of a split."""


@dataclass(frozen=True)
class Moment:
    """Where and when a sample was taken: town number, drive number, frame of the drive."""

    split: str
    town: int
    drive: int
    frame: int

    @property
    def name(self) -> str:
        """Stable over lengths, sizes and runs."""
        return f"{self.split}/town{self.town:02d}/drive{self.drive:03d}/{self.frame:06d}"

    @property
    def time(self) -> float:
        """Seconds since the drive's start."""
        return 0.1 + self.frame * GAP

    def load(self, seed: int) -> Drive:
        """The drive."""
        return build_drive(TOWNS[self.split][0], seed, self.town, self.split, self.drive)


def check_split(split: str) -> None:
    """Raise ``UsageError`` unless ``split`` exists."""
    if split not in TOWNS:
        raise UsageError(
            f"Streets has no split {split!r}",
            needed="one of " + ", ".join(TOWNS),
            fix="set data.split",
        )


def moment(split: str, index: int) -> Moment:
    """Sample ``index`` of a split: neighbours in the order come from different towns."""
    towns = TOWNS[split][1]
    turn, town = divmod(index, len(towns))
    drive, frame = divmod(turn, FRAMES)
    return Moment(split, towns[town], drive, frame)
