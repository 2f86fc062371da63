"""RGB-D recordings in the layouts of their data sets."""

from pointcl.data.frames import scannet, seven_scenes, tum
from pointcl.data.frames.sequence import FrameSequence, Rig

LAYOUTS = {"7scenes": seven_scenes.find, "tum": tum.find, "scannet": scannet.find}
"""Name of a layout -> what finds its sequences below a folder."""

__all__ = ["LAYOUTS", "FrameSequence", "Rig"]
