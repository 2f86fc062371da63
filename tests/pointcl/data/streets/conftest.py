"""One drive, and one turn of the sensor in it, that the tests share."""

from __future__ import annotations

import pytest

from densecl.data.streets.drive import build_drive
from pointcl.data.streets.sensor import draw_sensor
from pointcl.data.streets.sweep import sweep


@pytest.fixture(scope="session")
def drive():
    return build_drive("val", 0, 12, "val", 1)


@pytest.fixture(scope="session")
def turned(drive):
    """One turn of the sensor in that drive: sensor, sweep and hits."""
    sensor = draw_sensor(drive, 32, 300)
    return (sensor, *sweep(drive, sensor, 2.3))
