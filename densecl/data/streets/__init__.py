"""The embedded world: streets in metres, seen by a ray-cast camera."""

from densecl.data.streets.classes import CLASSES, IGNORE, PALETTE
from densecl.data.streets.dataset import Box, Streets
from densecl.data.streets.sheet import contact_sheet
from densecl.data.streets.splits import WORLD_VERSION

__all__ = ["CLASSES", "IGNORE", "PALETTE", "WORLD_VERSION", "Box", "Streets", "contact_sheet"]
