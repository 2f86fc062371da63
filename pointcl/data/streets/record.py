"""A scan as bytes, and back."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from pointcl.data.streets.motion import Motion
from pointcl.data.streets.objects import Objects
from pointcl.data.streets.rig import CAMERAS, Mount
from pointcl.data.streets.sweep import Sweep

_IMAGES = ("distance", "intensity", "label", "instance")


def pack(sweep: Sweep) -> bytes:
    """The scan as one compressed archive of plain arrays; the same scan gives the same bytes."""
    mounts = [[*m.to_ego.ravel(), m.field_of_view, m.lag] for m in sweep.mounts.values()]
    file = BytesIO()
    np.savez_compressed(
        file,
        time=np.float64(sweep.time),
        motion=sweep.motion.to_numbers(),
        elevations=sweep.elevations,
        to_ego=sweep.to_ego,
        mounts=np.array(mounts),
        box=sweep.objects.box,
        box_label=sweep.objects.label,
        box_instance=sweep.objects.instance,
        **{name: getattr(sweep, name) for name in _IMAGES},
    )
    return file.getvalue()


def unpack(blob: bytes) -> Sweep:
    """The scan that ``pack`` wrote."""
    with np.load(BytesIO(blob), allow_pickle=False) as stored:
        mounts = {
            name: Mount(row[:16].reshape(4, 4), float(row[16]), float(row[17]))
            for name, row in zip(CAMERAS, stored["mounts"], strict=True)
        }
        return Sweep(
            time=float(stored["time"]),
            motion=Motion.from_numbers(stored["motion"]),
            elevations=stored["elevations"],
            to_ego=stored["to_ego"],
            mounts=mounts,
            objects=Objects(stored["box"], stored["box_label"], stored["box_instance"]),
            **{name: stored[name] for name in _IMAGES},
        )
