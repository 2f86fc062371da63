"""Which scan of which drive a sample is; towns and drives are those of ``densecl``'s streets."""

from __future__ import annotations

from dataclasses import dataclass

from densecl.data.streets.path import GAP
from densecl.data.streets.splits import Moment, moment

LIDAR_VERSION = "1"
"""Part of every result's hash, beside ``WORLD_VERSION``: changed whenever the same seed gives
other scans."""

TURN = 0.1
"""Seconds of one turn of the sensor."""

TURNS = round(GAP / TURN)
"""Turns from one still frame of a drive to the next: the most that a clip may last."""

LENGTHS = {"pretrain": 400, "train": 120, "val": 40, "test": 80}
"""Default number of scans of a split."""

CLIPS = {"pretrain": 2, "train": 1, "val": 1, "test": 1}
"""Default number of scans at each moment: methods that pair scans need neighbours in time."""


@dataclass(frozen=True)
class Instant:
    """One turn of the sensor.

    Attributes:
        moment: town, drive and still frame.
        later: turns after that frame.
    """

    moment: Moment
    later: int

    @property
    def turn(self) -> int:
        """Number of the turn in its drive."""
        return self.moment.frame * TURNS + self.later

    @property
    def time(self) -> float:
        """Seconds since the drive's start at the middle of the turn."""
        return self.moment.time + TURN * self.later

    @property
    def sequence(self) -> str:
        """The drive, for instance ``val/town13/drive002``."""
        return self.moment.name.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Stable over lengths, clips, sensors and runs: ``val/town13/drive002/000022``."""
        return f"{self.sequence}/{self.turn:06d}"


def instant(split: str, index: int, clip: int, gap: int) -> Instant:
    """Scan ``index`` of a split: ``clip`` scans, ``gap`` turns apart, at each moment."""
    where, later = divmod(index, clip)
    return Instant(moment(split, where), later * gap)
