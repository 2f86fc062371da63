"""Numbers about pairs: how many, how even, how far, how right."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet
from densecl.pairs.ragged import joint_ids


@torch.no_grad()
def pair_stats(
    pairs: Pairs,
    src: PointSet | None = None,
    dst: PointSet | None = None,
    reverse: Pairs | None = None,
) -> dict[str, float]:
    """Statistics of a list of pairs.

    Args:
        pairs: what to count.
        src: adds the numbers per sample and the share of valid rows with a pair.
        dst: with ``src``, in the same frame: adds the mean distance.
        reverse: pairs from dst to src: adds the share of mutual pairs.

    Returns:
        ``pairs``; ``many_to_one`` (share of pairs whose dst row is in more than one pair) and
        ``one_to_many``; with ``src``: ``per_sample_min``, ``_mean``, ``_max``, ``empty_fraction``
        (samples without a pair) and ``coverage``; with ``dst``: ``mean_distance``, in the unit of
        the frame; with ``reverse``: ``mutual``. Shares of nothing are 0.
    """
    p = len(pairs)
    out = {"pairs": float(p)}
    for name, rows, size in (
        ("many_to_one", pairs.dst, pairs.num_dst),
        ("one_to_many", pairs.src, pairs.num_src),
    ):
        shared = torch.bincount(rows, minlength=size)[rows] > 1
        out[name] = float(shared.double().mean()) if p else 0.0
    if reverse is not None:
        out["mutual"] = len(pairs.mutual(reverse)) / p if p else 0.0
    if src is None:
        return out
    count = pairs.per_sample(src)
    filled = len(count) > 0
    out["per_sample_min"] = float(count.min()) if filled else 0.0
    out["per_sample_mean"] = float(count.double().mean()) if filled else 0.0
    out["per_sample_max"] = float(count.max()) if filled else 0.0
    out["empty_fraction"] = float((count == 0).double().mean()) if filled else 0.0
    valid = src.valid_mask()
    matched = (pairs.per_row() > 0) & valid
    out["coverage"] = int(matched.sum()) / max(int(valid.sum()), 1)
    comparable = dst is not None and dst.frame == src.frame
    if comparable and dst is not None and src.coord is not None and dst.coord is not None:
        gap = src.coord[pairs.src].double() - dst.coord[pairs.dst].double()
        out["mean_distance"] = float(gap.norm(dim=1).mean()) if p else 0.0
    return out


@dataclass
class Purity:
    """How often the two ends of a pair carry the same label.

    Attributes:
        share: pairs that agree, among those with two known labels; NaN if there are none.
        count: pairs with two known labels.
        chance: the share expected if the dst ends were shuffled among the pairs of each sample.
    """

    share: float
    count: int
    chance: float


@torch.no_grad()
def purity(pairs: Pairs, src: PointSet, dst: PointSet, *, ignore: int = 255) -> Purity:
    """Share of pairs whose labels agree, with the level that chance reaches.

    Args:
        pairs: between ``src`` and ``dst``; weights are not used.
        src: with ``label``.
        dst: with ``label``.
        ignore: label that is unknown; negative ones are too.

    Raises:
        ValueError: labels are missing or the sizes of the sets do not fit the pairs.
    """
    if src.label is None or dst.label is None:
        raise ValueError(f"{'src' if src.label is None else 'dst'} has no label")
    if (len(src), len(dst)) != (pairs.num_src, pairs.num_dst):
        raise ValueError(f"sets of {len(src)} and {len(dst)} rows for {pairs}")
    a, b = src.label[pairs.src], dst.label[pairs.dst]
    known = (a >= 0) & (a != ignore) & (b >= 0) & (b != ignore)
    a, b, sample = a[known], b[known], src.sample[pairs.src[known]]
    count = len(a)
    if count == 0:
        return Purity(float("nan"), 0, float("nan"))
    # A sample with n pairs, of which n_c have src class c and m_c dst class c, agrees in
    # sum_c n_c m_c / n of them on average over all shuffles.
    ids_a, ids_b = joint_ids([sample, a], [sample, b])
    size = int(torch.maximum(ids_a.max(), ids_b.max())) + 1
    total = torch.bincount(sample).double()[sample]
    n_c = torch.bincount(ids_b, minlength=size).double()[ids_a]
    return Purity(float((a == b).double().mean()), count, float((n_c / total).mean()))
