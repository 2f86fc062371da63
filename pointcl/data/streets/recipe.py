"""What decides the content of a cache of scans, or of their pictures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from densecl.data.streets.drive import Drive
from densecl.data.streets.shard import code_digest
from densecl.data.streets.splits import WORLD_VERSION
from pointcl.data.streets.splits import LIDAR_VERSION, Instant, instant

_SOURCES = "firing materials motion objects pictures record rig sensor splits sweep window"
_PICTURES_A_SCAN = 3
"""A scan takes about as long to render as this many pictures."""


@dataclass(frozen=True)
class Recipe:
    """The scans of a split, or the pictures taken with them.

    Attributes:
        split, length: as for ``LidarStreets``; clip, gap: scans at a moment and turns between.
        seed: of the world.
        shape: (beams, steps) of a scan, or (H, W) of a picture.
        cameras: whose pictures; none = the scans.
    """

    split: str
    length: int
    clip: int
    gap: int
    seed: int
    shape: tuple[int, int]
    cameras: tuple[str, ...] = ()

    def instant(self, index: int) -> Instant:
        """Drive and turn of a scan."""
        return instant(self.split, index, self.clip, self.gap)

    def drive(self, index: int) -> Drive:
        """The drive of a scan."""
        return self.instant(index).moment.load(self.seed)

    @property
    def frames(self) -> int:
        """How many pictures would take as long."""
        return self.length * (len(self.cameras) or _PICTURES_A_SCAN)

    @property
    def key(self) -> dict:
        """The recipe with both versions and the digest of the code."""
        digest = hashlib.sha256(code_digest().encode())
        for name in _SOURCES.split():
            digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
        key = {
            **asdict(self),
            "version": [WORLD_VERSION, LIDAR_VERSION],
            "code": digest.hexdigest()[:16],
        }
        return json.loads(json.dumps(key))

    @property
    def digest(self) -> str:
        """Hex name of the cache folder."""
        return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:20]
