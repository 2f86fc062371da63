"""The ``views`` section of methods that look at cameras: views of clouds, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from densecl.engine.domain import input_norm
from densecl.engine.model import InputNorm
from densecl.engine.names import registered
from densecl.errors import UsageError
from densecl.methods.base import Method
from pointcl.registry import METHODS


def split_views(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Settings of the views of clouds, and of pictures; None where the method takes none.

    Raises:
        UsageError: pictures for a method that does not look at them, an unknown setting, or no
            superpixels where they are needed.
    """
    from pointcl.views.camera_views import SLIC

    clouds = dict(config["views"])
    pictures = clouds.pop("pictures", None)
    name = config["method"].get("type")
    method = registered(METHODS, name, "method.type")
    if not getattr(method, "takes_pictures", False):
        if pictures is not None:
            raise UsageError(
                f"views.pictures is given, but method {name} looks at no picture",
                fix="remove it, or choose SLidR or PPKT",
            )
        return clouds, None
    if pictures is not None and not isinstance(pictures, Mapping):
        raise UsageError(f"views.pictures = {pictures!r}", needed="a dict")
    settings = dict(pictures or {})
    if "seed" in settings:
        raise UsageError("views.pictures.seed is given", fix="set the top-level seed")
    needed = getattr(method, "takes_regions", False)
    settings.setdefault("superpixels", dict(SLIC) if needed else None)
    if needed and settings["superpixels"] is None:
        raise UsageError(
            f"views.pictures.superpixels = None with method {name}",
            needed="a segmentation of images",
            fix="leave it out (150 segments by SLIC), or take PPKT, which needs none",
        )
    return clouds, settings


def picture_norm(method: Method, config: Mapping[str, Any]) -> InputNorm | None:
    """How pictures are normalised: as the method's teacher wants it, else as ``input`` says."""
    if not getattr(method, "takes_pictures", False):
        return None
    told = getattr(method, "picture_input", None)
    if told is None:
        return input_norm(config)
    order, mean, std = told
    memory = config["train"]["channels_last"]
    return InputNorm(mean, std, channel_order=order, channels_last=memory)
