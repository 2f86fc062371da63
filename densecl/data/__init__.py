"""Data sets of samples, and the loader that turns them into batches of views.

Importing this package registers every data set in ``densecl.registry.DATASETS``.
"""

from densecl.data.base import ImageDataset
from densecl.data.coco import CocoImages
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
from densecl.data.video import VideoFrames
from densecl.data.views import ViewDataset, build_loader, collate_views

__all__ = [
    "CocoImages",
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
    "VideoFrames",
    "ViewDataset",
    "WithSegments",
    "build_loader",
    "collate_views",
    "derive_seed",
    "rng",
]
