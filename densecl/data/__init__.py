"""Data sets of samples, and the loader that turns them into batches of views.

Importing this package registers every data set in ``densecl.registry.DATASETS``.
"""

from densecl.data.base import ImageDataset
from densecl.data.boxes import BoxedImage
from densecl.data.coco import CocoImages
from densecl.data.coco_boxes import CocoBoxes
from densecl.data.davis import Davis
from densecl.data.folder import ImageFolder
from densecl.data.labelled import LabelledFolder
from densecl.data.labelled_list import LabelledList
from densecl.data.list_file import ImageList
from densecl.data.mmseg_dataset import MMSegDataset
from densecl.data.sample import Frame, Sample
from densecl.data.sampler import StepSampler
from densecl.data.seeding import derive_seed, rng
from densecl.data.segmented import WithSegments
from densecl.data.streets import Streets
from densecl.data.streets.boxes import StreetsBoxes
from densecl.data.video import VideoFrames
from densecl.data.views import ViewDataset, build_loader, collate_views
from densecl.data.voc import VocBoxes

__all__ = [
    "BoxedImage",
    "CocoBoxes",
    "CocoImages",
    "Davis",
    "Frame",
    "ImageDataset",
    "ImageFolder",
    "ImageList",
    "LabelledFolder",
    "LabelledList",
    "MMSegDataset",
    "Sample",
    "StepSampler",
    "Streets",
    "StreetsBoxes",
    "VideoFrames",
    "ViewDataset",
    "VocBoxes",
    "WithSegments",
    "build_loader",
    "collate_views",
    "derive_seed",
    "rng",
]
