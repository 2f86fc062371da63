"""Non-maximum suppression and RoIAlign in torch, for where no compiled ones are installed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 256  # boxes whose mutual overlaps are resolved at once


def box_overlaps(first: Tensor, second: Tensor, offset: float = 0.0) -> Tensor:
    """Intersection over union of every pair.

    Args:
        first, second: (N, 4) and (M, 4), (x0, y0, x1, y1).
        offset: added to each width and height; 1 where corners are inclusive pixel indices.

    Returns:
        (N, M); NaN where both boxes are without area, so that no threshold is exceeded there.
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low + offset).clamp(min=0).prod(dim=2)
    area, other = ((b[:, 2:] - b[:, :2] + offset).prod(dim=1) for b in (first, second))
    return shared / (area[:, None] + other[None, :] - shared)


def nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    classes: Tensor | None = None,
    offset: float = 0.0,
) -> Tensor:
    """Greedy non-maximum suppression: a box goes if a better one that stays overlaps it too much.

    Boxes are resolved in blocks. Within a block the rule is applied to all boxes at once until
    nothing changes; as each box depends on better ones only, that ends at the greedy result.

    Args:
        boxes: (N, 4), (x0, y0, x1, y1).
        scores: (N,). Of equal scores the earlier box is the better one.
        threshold: an overlap above it, not one that equals it, suppresses.
        classes: (N,) integers: only boxes of one class suppress each other. None = one class.
        offset: see ``box_overlaps``.

    Returns:
        (K,) int64, the boxes that stay, best first. A box without area neither suppresses nor is
        suppressed by another of its kind.

    Raises:
        ValueError: shapes that disagree.
    """
    count = len(boxes)
    if boxes.shape != (count, 4) or scores.shape != (count,):
        raise ValueError(f"boxes {tuple(boxes.shape)}, scores {tuple(scores.shape)}")
    if classes is not None and classes.shape != (count,):
        raise ValueError(f"classes {tuple(classes.shape)} of {count} boxes")
    left = torch.argsort(scores, descending=True, stable=True)
    kept = []
    while len(left):
        block, rest = left[:_BLOCK], left[_BLOCK:]
        # row i, column j: i is the better one and would suppress j
        beats = _suppresses(boxes, classes, block, block, threshold, offset).triu(1)
        stays = torch.ones(len(block), dtype=torch.bool, device=boxes.device)
        while True:
            now = ~(beats & stays[:, None]).any(dim=0)
            if torch.equal(now, stays):
                break
            stays = now
        block = block[stays]
        kept.append(block)
        left = rest[~_suppresses(boxes, classes, block, rest, threshold, offset).any(dim=0)]
    return torch.cat(kept) if kept else left


def _suppresses(
    boxes: Tensor, classes: Tensor | None, first: Tensor, second: Tensor, most: float, offset: float
) -> Tensor:
    above = box_overlaps(boxes[first], boxes[second], offset) > most
    if classes is not None:
        above &= classes[first][:, None] == classes[second][None, :]
    return above


def roi_align(
    features: Tensor,
    boxes: Tensor,
    image: Tensor,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    sampling: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean of bilinear samples in each cell of a grid laid over each box.

    Args:
        features: (B, C, h, w); carries gradient.
        boxes: (R, 4), (x0, y0, x1, y1) in the image's pixels; without gradient.
        image: (R,) integers, which of the B maps a box is of.
        size: (rows, columns) of the grid.
        scale: feature cells per image pixel.
        sampling: samples per cell and axis; 0 = as many as the cell is feature cells wide, rounded
            up, so none in a box without width, whose values are 0.
        aligned: a feature cell's centre lies half a cell inside, as everywhere in this project.
            False leaves that out and makes boxes at least one cell wide, as first published.

    Returns:
        (R, C, rows, columns). A sample more than one cell outside counts as 0, a nearer one takes
        the value at the border.

    Source: He et al. 2017, section 3; the half cell as in Detectron2.
    """
    channels, height, width = features.shape[1:]
    # (B h w, C): the value of a cell is a weighted sum of some rows
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    edges = boxes.detach().to(features.dtype) * scale - (0.5 if aligned else 0.0)
    start, extent = edges[:, :2], edges[:, 2:] - edges[:, :2]
    if not aligned:
        extent = extent.clamp(min=1)
    step = extent / extent.new_tensor([size[1], size[0]])
    samples = torch.full_like(step, sampling) if sampling else step.ceil().clamp(min=0)
    # boxes with equally many samples are read together
    kinds, kind = torch.unique(samples.long(), dim=0, return_inverse=True)
    parts, order = [], []
    for number, (columns, rows) in enumerate(kinds.tolist()):
        chosen = (kind == number).nonzero()[:, 0]
        order.append(chosen)
        if not rows * columns:
            parts.append(table[:0].sum() + table.new_zeros(len(chosen), *size, channels))
            continue
        x, x_weight = _taps(start[chosen, 0], step[chosen, 0], size[1], columns, width)
        y, y_weight = _taps(start[chosen, 1], step[chosen, 1], size[0], rows, height)
        base = image[chosen].long().view(-1, 1, 1, 1, 1) * height
        index = (base + y[:, :, None, :, None]) * width + x[:, None, :, None, :]
        weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
        out = functional.embedding_bag(
            index.flatten(0, 2).flatten(1),
            table,
            mode="sum",
            per_sample_weights=weight.flatten(0, 2).flatten(1),
        )
        parts.append(out.view(len(chosen), *size, channels))
    if not parts:
        return features.new_zeros(0, channels, *size) + table[:0].sum()
    return torch.cat(parts)[torch.cat(order).argsort()].permute(0, 3, 1, 2)


def _taps(
    start: Tensor, step: Tensor, cells: int, samples: int, length: int
) -> tuple[Tensor, Tensor]:
    """What the samples of each cell read along one axis.

    Args:
        start, step: (R,) first edge and width of the cells, in feature cells.
        cells: of the grid.
        samples: per cell.
        length: of the feature map.

    Returns:
        (R, cells, 2 samples) indices and their weights, which add up to the share of samples that
        are not outside.
    """
    device, dtype = start.device, start.dtype
    within = (torch.arange(samples, device=device, dtype=dtype) + 0.5) / samples
    at = torch.arange(cells, device=device, dtype=dtype)[:, None] + within
    where = start[:, None, None] + step[:, None, None] * at
    counted = (where >= -1) & (where <= length)
    where = where.clamp(0, length - 1)
    low = where.floor()
    share = where - low
    weight = torch.cat([1 - share, share], dim=2) * counted.repeat(1, 1, 2) / samples
    index = torch.cat([low, (low + 1).clamp(max=length - 1)], dim=2).long()
    return index, weight


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of every (row, class), scaled down where it is easy.

    Args:
        logits: (N, L); carries gradient.
        target: (N,) class ids; L = background.
        gamma: how fast easy ones count less.
        alpha: weight of the positive class, 1 - alpha of the negative one.
        weight: (L,) of the classes, or None.

    Returns:
        (N, L).

    Source: Lin et al. 2017, eq. 5.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    sign = torch.where(positive, 1.0, -1.0).to(logits.dtype)
    entropy = -functional.logsigmoid(sign * logits)
    wrong = torch.sigmoid(-sign * logits)
    share = torch.where(positive, logits.new_tensor(alpha), logits.new_tensor(1 - alpha))
    loss = share * wrong.pow(gamma) * entropy
    return loss if weight is None else loss * weight
