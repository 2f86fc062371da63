"""Registries of the 3D package, the counterparts of ``densecl.registry``."""

from __future__ import annotations

from mmengine.registry import Registry

METHODS = Registry("point method", scope="pointcl", locations=["pointcl.methods"])
BACKBONES = Registry("sparse backbone", scope="pointcl", locations=["pointcl.models"])
DATASETS = Registry("point dataset", scope="pointcl", locations=["pointcl.data"])
REGIONS = Registry("cloud segmentation", scope="pointcl", locations=["pointcl.regions"])
