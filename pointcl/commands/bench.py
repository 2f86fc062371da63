"""What `transfer` and `evaluate` measure on: scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densecl.commands.bench import CONTROLS, Bench

if TYPE_CHECKING:
    from densecl.transfer.kind import Kind


def _scans() -> Kind:
    from pointcl.transfer.of_scans import SCANS

    return SCANS


SCANS = Bench("pointcl", "streets_lidar-5pct", "quick", (*CONTROLS, "points"), _scans)
