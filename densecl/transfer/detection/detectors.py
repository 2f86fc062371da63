"""mmdetection's detectors around a backbone of ours."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.frozen import frozen
from densecl.models.mmseg import ensure_mmseg, quiet_init
from densecl.models.mmseg_config import mmseg_config
from densecl.transfer import initialisation
from densecl.transfer.detection.architectures import DETECTORS, NECKS
from densecl.transfer.detection.mmcv_operators import install_operators

INSTALL = "pip install 'densecl[det,seg]'"


def ensure_mmdet() -> Any:
    """mmdetection's registry of models, with operators that run.

    Raises:
        UsageError: mmdetection or mmcv is not installed, or the two do not fit.
    """
    try:
        with _quiet():
            ensure_mmseg()
            install_operators()
            importlib.import_module("mmdet.models")
            registry = importlib.import_module("mmdet.registry").MODELS
    except UsageError as error:
        raise UsageError(f"detection: {error.given}", fix=INSTALL) from error
    except (ImportError, AssertionError) as error:
        raise UsageError(f"mmdetection does not import: {error}", fix=INSTALL) from error
    return registry


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that mmdetection calls forth by its use of torch and of itself."""
    with warnings.catch_warnings():
        for said in ("would be deprecated soon", "torch.jit.* is deprecated", "torch.meshgrid"):
            warnings.filterwarnings("ignore", message=f".*{said}.*")
        yield


@contextmanager
def _mmdet_models() -> Iterator[Any]:
    registry = ensure_mmdet()
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"), quiet_init("ERROR"), _quiet():
        yield registry


def backbone_config(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a backbone config of ours into mmdetection's; all maps, nothing frozen.

    Raises:
        UsageError: a backbone that mmdetection cannot mirror, or has no such class for.
    """
    config = mmseg_config(backbone)
    if config["type"] == "ResNetV1c":
        config |= {"type": "ResNet", "deep_stem": True}
    if config["type"] == "ResNet":
        config.pop("contract_dilation", None)
        config |= {"frozen_stages": -1, "norm_eval": False}
    config = {key: value for key, value in config.items() if key not in ("init_cfg", "pretrained")}
    cls = ensure_mmdet().get(config["type"])
    known = {} if cls is None else inspect.signature(cls).parameters
    odd = [key for key in config if key not in known and key != "type"]
    if cls is None or odd or "out_indices" not in known:
        what = f"options {odd}" if cls is not None and odd else f"class for {backbone['type']!r}"
        raise UsageError(
            f"mmdetection has no {what} of maps at several strides",
            needed="a backbone of type 'ResNet' or 'mmseg.SwinTransformer'",
        )
    return config


def map_strides(backbone: nn.Module, size: int = 128) -> list[int]:
    """The stride of each map that a backbone returns, by a trial run."""
    with frozen(backbone):
        return [size // each.shape[-1] for each in backbone(torch.zeros(1, 3, size, size))]


def build_detector(
    kind: str,
    backbone: Mapping[str, Any],
    num_classes: int,
    *,
    channels: int = 64,
    convs: int = 1,
    strides: Sequence[int] | None = None,
    extra_levels: int = 1,
    anchor_scale: float = 4.0,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A detector of mmdetection, freshly initialised from torch's global random state.

    A feature pyramid joins the maps, group norm follows every convolution of pyramid and heads,
    and anchors stand on the centres of their cells. ``deformable-detr`` has neither pyramid nor
    anchors: a convolution and group norm bring each map to ``channels``, attention joins them.

    Args:
        kind: ``retinanet``, ``fcos``, ``faster-rcnn`` or ``deformable-detr``.
        backbone: a backbone config of ours; where two stages share a stride the deeper is used.
        num_classes: L.
        channels: width of pyramid, transformer and heads.
        convs: convolutions of each head before its output; of ``deformable-detr`` linear layers
            of the boxes' head, its classes are read off directly.
        strides: which maps of the backbone; None = all.
        extra_levels: beyond the backbone's maps, each at half the resolution of the one before.
        anchor_scale: side of a level's smallest square anchor in strides of the level. FCOS, which
            has no anchors: half the largest distance from a cell to an edge of its box, likewise.
            ``deformable-detr`` does not read it.
        options: overrides of the detector's config, by mmdetection's names.

    Raises:
        UsageError: an unknown kind or stride, a backbone that cannot be mirrored, or a width that
            the transformer cannot have.
    """
    if kind not in DETECTORS:
        raise UsageError(f"detector {kind!r}", needed=" or ".join(map(repr, DETECTORS)))
    config = backbone_config(backbone)
    with _mmdet_models() as models:
        plain = models.build(Config(config)._cfg_dict)
        given = map_strides(plain)
        # of maps that share a stride the deepest, as in ``Features``
        places = {stride: place for place, stride in enumerate(given)}
        used = sorted(places) if strides is None else sorted(strides)
        if unknown := [stride for stride in used if stride not in places]:
            raise UsageError(f"strides {unknown}", needed=f"some of {sorted(places)}")
        with frozen(plain):
            widths = [each.shape[1] for each in plain(torch.zeros(1, 3, 64, 64))]
        config["out_indices"] = tuple(places[stride] for stride in used)
        levels = [*used, *(used[-1] << step for step in range(1, extra_levels + 1))]
        norm = {"type": "GN", "num_groups": _groups(channels), "requires_grad": True}
        neck = {
            **NECKS[kind],
            "in_channels": [widths[places[stride]] for stride in used],
            "out_channels": channels,
            "num_outs": len(levels),
            "norm_cfg": norm,
        }
        head = DETECTORS[kind](num_classes, channels, convs, levels, anchor_scale, norm)
        model = Config({"backbone": config, "neck": neck, **head})
        model.merge_from_dict(dict(options or {}))
        if "num_queries" in model:
            # it takes its best without asking whether there are as many
            most = model.num_queries * num_classes
            model.test_cfg.max_per_img = min(model.test_cfg.max_per_img, most)
        detector = models.build(model._cfg_dict)
        detector.init_weights()
    _keep_ignored(detector)
    return detector


def _keep_ignored(detector: nn.Module) -> None:
    """Let assigners leave out ignored boxes in images without others too, which they forget."""
    for module in detector.modules():
        for name in ("assigner", "bbox_assigner"):
            assigner: Any = getattr(module, name, None)
            if getattr(assigner, "ignore_iof_thr", -1) > 0:
                assigner.assign = partial(_assign, assigner, assigner.assign)


def _assign(
    assigner: Any, assign: Callable, found: Any, wanted: Any, ignored: Any = None, **more: Any
) -> Any:
    """mmdetection's ``assign`` with candidates in ignored boxes marked -1, where none is wanted."""
    result = assign(found, wanted, ignored, **more)
    if ignored is not None and len(ignored) and not len(wanted) and len(found):
        share = assigner.iou_calculator(found.priors, ignored.bboxes, mode="iof").amax(dim=1)
        result.gt_inds[share > assigner.ignore_iof_thr] = -1
    return result


def _groups(channels: int) -> int:
    """Groups of the norm: up to 16, none narrower than 4 channels."""
    groups = max(1, min(16, channels // 4))
    while channels % groups:
        groups -= 1
    return groups


def transplant(source: nn.Module, target: nn.Module, backbone: Mapping[str, Any]) -> float:
    """Copy a backbone of ours into a detector's backbone and check its features.

    Args and result: see ``densecl.transfer.initialisation.transplant``.

    Raises:
        UsageError: keys or shapes differ, or the features do.
    """
    return initialisation.transplant(source, target, backbone, _all_maps, "mmdetection")


def _all_maps(backbone: Mapping[str, Any]) -> nn.Module:
    """mmdetection's backbone that returns every map."""
    with torch.random.fork_rng(devices=[]), _mmdet_models() as models:
        return models.build(Config(backbone_config(backbone))._cfg_dict)


def detection_loss(detector: nn.Module, inputs: Tensor, samples: list[Any]) -> Tensor:
    """Sum of the detector's loss terms, for a batch of equal sizes.

    Args:
        detector: in training mode.
        inputs: (B, 3, H, W), normalised.
        samples: mmdetection's record of each image, with its boxes.
    """
    with _quiet():
        loss, _ = detector.parse_losses(detector.loss(inputs, samples))  # type: ignore[operator]
    return loss


def detect(detector: nn.Module, inputs: Tensor, samples: list[Any]) -> list[Any]:
    """What the detector finds in a batch of equal sizes, in the pixels of ``inputs``.

    Returns:
        For each image ``InstanceData`` with ``bboxes``, ``labels`` and ``scores`` on the CPU.
    """
    with _quiet():
        results = detector.predict(inputs, samples, rescale=False)  # type: ignore[operator]
    return [result.pred_instances.cpu() for result in results]
