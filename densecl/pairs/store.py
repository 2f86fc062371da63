"""Pairs on disk: rows of two sets, or ids of the raw input that survive every augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.files import write_atomically
from densecl.pairs.identity import raw_ids
from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, same_samples
from densecl.pairs.ragged import join, joint_ids

FORMAT = "densecl.pairs/1"
RAW = ("src_source", "src_index", "dst_source", "dst_index")


def save_pairs(
    pairs: Pairs, path: str | Path, src: PointSet | None = None, dst: PointSet | None = None
) -> None:
    """Write pairs atomically: the file is complete or it is the old one.

    Args:
        pairs: what to save.
        path: file name; its folder must exist.
        src: with ``dst``, both with ``source`` and ``index``: the raw ids are stored as well, so
            that ``match_from_file`` finds the rows again in other views of the same inputs.
        dst: see ``src``.

    Raises:
        UsageError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "num_src": pairs.num_src,
        "num_dst": pairs.num_dst,
        **{name: getattr(pairs, name) for name in ("src", "dst", "weight", "target")},
    }
    if src is not None and dst is not None:
        if (len(src), len(dst)) != (pairs.num_src, pairs.num_dst):
            raise ValueError(f"sets of {len(src)} and {len(dst)} rows for {pairs}")
        ids = (*raw_ids(src, "src"), *raw_ids(dst, "dst"))
        rows = (pairs.src, pairs.src, pairs.dst, pairs.dst)
        content |= {name: value[row] for name, value, row in zip(RAW, ids, rows, strict=True)}
    content = {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else value
        for name, value in content.items()
    }
    path = Path(path)
    fix = "choose an existing folder that you may write to"
    if not path.parent.is_dir():
        raise UsageError(f"cannot write pairs to {path}: no such folder", fix=fix)
    try:
        write_atomically(path, lambda temporary: _write(content, temporary))
    except OSError as error:
        raise UsageError(f"cannot write pairs to {path}: {error.strerror}", fix=fix) from error


def _write(content: dict[str, Any], path: Path) -> None:
    # Given a path, torch would put its name into the file.
    with open(path, "wb") as stream:
        torch.save(content, stream)


def load_pairs(path: str | Path) -> Pairs:
    """Read the rows that ``save_pairs`` wrote, on the CPU.

    Raises:
        UsageError: the file is missing, damaged, or no file of pairs.
    """
    return _to_pairs(_read(path), path)


@torch.no_grad()
def match_from_file(
    path: str | Path, src: PointSet, dst: PointSet, *, within: str = "sample"
) -> Pairs:
    """Pairs that were prepared offline, between the rows at hand.

    A file with raw ids gives every pair whose two ends are present in the sets, whatever crop,
    augmentation or order they have now. A file without them is taken as rows of sets of the same
    sizes.

    Args:
        path: written by ``save_pairs``.
        src: with ``source`` and ``index`` if the file holds raw ids.
        dst: the same.
        within: ``sample`` drops pairs that cross samples; ``batch`` keeps them (pairs between
            different images).

    Returns:
        Pairs ordered by (src, dst). Rows that are not valid have none.

    Raises:
        UsageError: the file is unusable, or made for sets of other sizes.
        ValueError: an id is missing, or samples differ.
    """
    if within not in ("sample", "batch"):
        raise ValueError(f"within must be 'sample' or 'batch', got {within!r}")
    same_samples(src, dst)
    content = _read(path)
    pairs = _to_pairs(content, path).to(src.device)
    if all(name in content for name in RAW):
        ids = [content[name].to(src.device) for name in RAW]
        pairs = _find(pairs, ids, src, dst)
    elif (pairs.num_src, pairs.num_dst) != (len(src), len(dst)):
        raise UsageError(
            f"{path} holds {pairs}, the sets have {len(src)} and {len(dst)} rows",
            fix="save with raw ids: save_pairs(pairs, path, src, dst)",
        )
    keep = src.valid_mask()[pairs.src] & dst.valid_mask()[pairs.dst]
    if within == "sample":
        keep &= src.sample[pairs.src] == dst.sample[pairs.dst]
    return pairs.filter(keep).sort()


def _find(stored: Pairs, ids: list[Tensor], src: PointSet, dst: PointSet) -> Pairs:
    """Join the stored ends with the rows that carry the same raw ids."""
    wanted, present = joint_ids(ids[:2], raw_ids(src, "src"))
    which, src_row = join(wanted, present)
    wanted, present = joint_ids([column[which] for column in ids[2:]], raw_ids(dst, "dst"))
    place, dst_row = join(wanted, present)
    which, src_row = which[place], src_row[place]
    return Pairs(
        src_row,
        dst_row,
        None if stored.weight is None else stored.weight[which],
        None if stored.target is None else stored.target[which],
        num_src=len(src),
        num_dst=len(dst),
    )


def _read(path: str | Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"no file of pairs at {path}", fix="check the path") from error
    except Exception as error:  # torch.load raises a dozen kinds on a damaged file
        raise UsageError(
            f"{path} cannot be read as pairs: {type(error).__name__}",
            needed="a complete file written by Pairs.save",
            fix="write it again",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(
            f"{path} is no file of pairs, or of another version",
            needed=f"format {FORMAT!r}",
            fix="write it with Pairs.save",
        )
    return content


def _to_pairs(content: dict[str, Any], path: str | Path) -> Pairs:
    names = ("src", "dst", "weight", "target", "num_src", "num_dst")
    try:
        return Pairs(**{name: content[name] for name in names})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} holds damaged pairs: {error}", fix="write it again") from error
