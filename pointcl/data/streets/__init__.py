"""The embedded world as a LiDAR sees it: scans, their cameras, and the exact truth."""

from pointcl.data.streets.dataset import LidarStreets
from pointcl.data.streets.splits import LIDAR_VERSION
from pointcl.data.streets.truth import STATES, TruePixels

__all__ = ["LIDAR_VERSION", "STATES", "LidarStreets", "TruePixels"]
