"""Sensors: poses, cameras and the way of a point from a scan to a pixel."""

from pointcl.sensors.camera import Camera, Distortion
from pointcl.sensors.distortion import distort, fold_radius, undistort
from pointcl.sensors.occlusion import Occlusion
from pointcl.sensors.pose import compose, inverse, move, pose_from_quaternion, rotate
from pointcl.sensors.projection import (
    Projection,
    Reason,
    project,
    project_points,
    scan_to_camera,
    unproject,
)

__all__ = [
    "Camera",
    "Distortion",
    "Occlusion",
    "Projection",
    "Reason",
    "compose",
    "distort",
    "fold_radius",
    "inverse",
    "move",
    "pose_from_quaternion",
    "project",
    "project_points",
    "rotate",
    "scan_to_camera",
    "undistort",
    "unproject",
]
