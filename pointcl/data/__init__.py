"""Data sets of scans: clouds with their poses, cameras, labels and boxes.

Importing this package registers every data set in ``pointcl.registry.DATASETS``.
"""

from pointcl.data.argoverse2 import Argoverse2
from pointcl.data.base import ScanDataset
from pointcl.data.folder import ScanFolder
from pointcl.data.formats.read import read_cloud
from pointcl.data.kitti import KITTI
from pointcl.data.kitti_raw import KITTIRaw
from pointcl.data.nuscenes import NuScenes
from pointcl.data.posed_pairs import PosedPairs
from pointcl.data.rgbd import RGBDFrames
from pointcl.data.s3dis import S3DIS
from pointcl.data.scan import IGNORE, Boxes, Scan
from pointcl.data.scannet import ScanNet
from pointcl.data.segmented import WithSegments
from pointcl.data.semantic_kitti import SemanticKITTI
from pointcl.data.sens import SensFile
from pointcl.data.streets import LidarStreets
from pointcl.data.subset import ScanSubset
from pointcl.data.survey import ScanReport
from pointcl.data.unprojection import unproject

__all__ = [
    "IGNORE",
    "KITTI",
    "S3DIS",
    "Argoverse2",
    "Boxes",
    "KITTIRaw",
    "LidarStreets",
    "NuScenes",
    "PosedPairs",
    "RGBDFrames",
    "Scan",
    "ScanDataset",
    "ScanFolder",
    "ScanNet",
    "ScanReport",
    "ScanSubset",
    "SemanticKITTI",
    "SensFile",
    "WithSegments",
    "read_cloud",
    "unproject",
]
