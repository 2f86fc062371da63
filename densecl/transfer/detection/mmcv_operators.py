"""Our operators under the names and signatures of mmcv's compiled ones, where it has none.

mmcv's Python side calls the functions of its extension module with outputs to fill. Where
``densecl.models.mmseg`` has put a stub in the module's place, these functions go into the stub; a
real extension is never touched.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.models.mmseg import EXTENSION, has_compiled_operators
from densecl.transfer.detection.operators import nms, roi_align, sigmoid_focal_loss


def install_operators() -> list[str]:
    """Put our operators where mmcv looks for compiled ones, if and only if it has none.

    ``densecl.models.mmseg.ensure_mmseg`` is called before.

    Returns:
        The names put there; none where the operators are compiled.
    """
    module = sys.modules.get(EXTENSION)
    if module is None or has_compiled_operators():
        return []
    for name, function in OPERATORS.items():
        setattr(module, name, function)
    return list(OPERATORS)


def _nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    return nms(bboxes, scores, iou_threshold, offset=offset)


def _average_only(pool_mode: int) -> None:
    if pool_mode != 1:
        raise UsageError(
            "RoIAlign with pool_mode='max'",
            needed="pool_mode='avg': mmcv's compiled operators are not installed",
        )


def _roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    _average_only(pool_mode)
    found = roi_align(
        features,
        rois[:, 1:],
        rois[:, 0],
        (aligned_height, aligned_width),
        scale=spatial_scale,
        sampling=sampling_ratio,
        aligned=aligned,
    )
    output.copy_(found)


def _roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    _average_only(pool_mode)
    with torch.enable_grad():
        # linear in the features: their values do not matter
        features = torch.zeros_like(grad_input, requires_grad=True)
        found = roi_align(
            features,
            rois[:, 1:],
            rois[:, 0],
            (aligned_height, aligned_width),
            scale=spatial_scale,
            sampling=sampling_ratio,
            aligned=aligned,
        )
        (gradient,) = torch.autograd.grad(found, features, grad_output)
    grad_input.add_(gradient)


def _focal_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    chosen = weight if weight.numel() else None
    output.copy_(sigmoid_focal_loss(logits, target, gamma=gamma, alpha=alpha, weight=chosen))


def _focal_backward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    chosen = weight if weight.numel() else None
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        loss = sigmoid_focal_loss(logits, target, gamma=gamma, alpha=alpha, weight=chosen)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
    grad_input.copy_(gradient)


def _deformable_attention(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """mmcv's own way where there is no GPU, which runs on every device."""
    ops = importlib.import_module("mmcv.ops.multi_scale_deform_attn")
    return ops.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def _deformable_attention_forward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    return _deformable_attention(value, shapes, locations, weights)


def _deformable_attention_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    *,
    im2col_step: int,
) -> None:
    with torch.enable_grad():
        inputs = [each.detach().requires_grad_() for each in (value, locations, weights)]
        found = _deformable_attention(inputs[0], shapes, *inputs[1:])
        gradients = torch.autograd.grad(found, inputs, grad_output)
    for target, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        target.copy_(gradient)


OPERATORS: dict[str, Callable] = {
    "nms": _nms,
    "roi_align_forward": _roi_align_forward,
    "roi_align_backward": _roi_align_backward,
    "sigmoid_focal_loss_forward": _focal_forward,
    "sigmoid_focal_loss_backward": _focal_backward,
    "ms_deform_attn_forward": _deformable_attention_forward,
    "ms_deform_attn_backward": _deformable_attention_backward,
}
"""mmcv's name -> ours."""
