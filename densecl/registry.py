"""Registries: a config names a class by string, these turn the name into the class.

They are mmengine registries with the scope ``densecl``; importing a location below
registers everything in it, so a name is found without the caller importing its file.
"""

from __future__ import annotations

from mmengine.registry import Registry

METHODS = Registry("method", scope="densecl", locations=["densecl.methods"])
BACKBONES = Registry("backbone", scope="densecl", locations=["densecl.models"])
DATASETS = Registry("dataset", scope="densecl", locations=["densecl.data"])
REGIONS = Registry("image segmentation", scope="densecl", locations=["densecl.regions"])
