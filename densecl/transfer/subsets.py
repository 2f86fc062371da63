"""Label subsets as listed files: every row of a table trains on the very same names.

A subset file holds one image name per line and nothing else, so that the data sets' own lists of
names can be such a file; how it was drawn stands beside it in ``<stem>.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.files import write_atomically, write_json

SEQUENCE = "sequence"
_STREAM = 0x5AB5E7  # keeps these draws apart from other users of the same seed


class Named(Protocol):
    """A data set whose items have stable names."""

    def __len__(self) -> int: ...

    def name(self, index: int, /) -> str:
        """Stable name of an item."""
        ...


@dataclass(frozen=True)
class Subset:
    """A named list of labelled images.

    Attributes:
        name: short label, used in tables and cell hashes' readable part.
        items: image names, in file order.
    """

    name: str
    items: tuple[str, ...]

    def indices(self, dataset: Named) -> list[int]:
        """Positions of the items in ``dataset``.

        Raises:
            UsageError: a listed name is not in the data set.
        """
        position = {dataset.name(i): i for i in range(len(dataset))}
        missing = [item for item in self.items if item not in position]
        if missing:
            raise UsageError(
                f"subset {self.name!r} lists {len(missing)} names that the data set lacks,"
                f" the first is {missing[0]!r}",
                needed=f"names such as {next(iter(position), '(the data set is empty)')!r}",
                fix="use the data set that the subset was drawn from, or draw it again",
            )
        return [position[item] for item in self.items]


def draw_subsets(
    names: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    *,
    blocks: int | None = None,
    sequences: Sequence[str] | None = None,
) -> dict[float, tuple[str, ...]]:
    """Draw nested subsets: a smaller one is always part of a larger one of the same seed.

    Args:
        names: N names of the whole labelled set. For ``blocks``, in time order.
        fractions: shares in (0, 1]; each subset holds ``max(1, round(fraction * N))`` names.
        seed: the draw is a function of it and of ``names``.
        blocks: None draws names one by one. An integer cuts the list into that many runs of
            neighbours of near equal length and orders the runs at random, so that a subset is
            made of whole temporal blocks (the last one cut short): neighbouring video frames
            are near copies, and single frames from everywhere would be worth nearly as much
            as all of them.
        sequences: drive, scene or room of each name: whole ones are drawn, ``max(1, round(fraction
            * S))`` of S, and a fraction is one of sequences. Without ``blocks`` only.

    Returns:
        fraction -> names in the order of ``names``.

    Raises:
        UsageError: no names, a repeated name, a fraction outside (0, 1] or a bad block count.
    """
    count = len(names)
    if not count:
        raise UsageError("the labelled set is empty", fix="check the data set's root and split")
    if len(set(names)) != count:
        repeated = next(name for name in names if list(names).count(name) > 1)
        raise UsageError(f"the name {repeated!r} occurs more than once in the labelled set")
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UsageError(f"label fraction {fraction}", needed="a share in (0, 1], e.g. 0.05")
    if blocks is not None and not 1 <= blocks <= count:
        raise UsageError(f"{blocks} blocks over {count} images", needed=f"1 to {count} blocks")
    generator = rng(seed, _STREAM)
    if sequences is not None:
        _, first, group = np.unique(np.asarray(sequences), return_index=True, return_inverse=True)
        order = generator.permutation(len(first))[np.argsort(np.argsort(first))]
        share = {f: max(1, round(f * len(first))) for f in fractions}
        return {
            f: tuple(names[i] for i in np.flatnonzero(order[group] < most).tolist())
            for f, most in share.items()
        }
    runs = np.array_split(np.arange(count), blocks or count)
    order = np.concatenate([runs[k] for k in generator.permutation(len(runs))])
    drawn = {}
    for fraction in fractions:
        chosen = np.sort(order[: max(1, round(fraction * count))])
        drawn[fraction] = tuple(names[i] for i in chosen)
    return drawn


def draw_for(
    dataset: Named,
    fractions: Sequence[float],
    seeds: Sequence[int],
    *,
    blocks: int | str | None = None,
) -> dict[float, list[Subset]]:
    """One subset per fraction and seed, named like ``5%-seed0``.

    Args:
        dataset: the whole labelled set.
        fractions, seeds: see ``draw_subsets``.
        blocks: a number of temporal blocks; ``sequence``: whole ones of ``dataset.sequences``.

    Raises:
        UsageError: as ``draw_subsets``; or the data set knows no sequences.
    """
    names = [dataset.name(i) for i in range(len(dataset))]
    how: dict[str, Any] = {"blocks": blocks}
    if blocks == SEQUENCE:
        if not hasattr(dataset, "sequences"):
            raise UsageError(
                f"blocks = {SEQUENCE!r}: {type(dataset).__name__} knows no sequences",
                needed="None, or a number of temporal blocks",
            )
        how = {"sequences": dataset.sequences}
    elif isinstance(blocks, str):
        raise UsageError(f"blocks = {blocks!r}", needed=f"None, a number, or {SEQUENCE!r}")
    result: dict[float, list[Subset]] = {fraction: [] for fraction in fractions}
    for seed in seeds:
        for fraction, items in draw_subsets(names, fractions, seed, **how).items():
            result[fraction].append(Subset(f"{fraction * 100:g}%-seed{seed}", items))
    return result


def write_subset(
    path: str | Path, subset: Subset, notes: Mapping[str, object] | None = None
) -> None:
    """Write a subset file, atomically.

    Args:
        path: target; its folder is made.
        subset: what to write.
        notes: how it was drawn (seed, fraction, blocks, data set), plain values.

    Raises:
        UsageError: a name that a line cannot hold (empty, line break, outer spaces).
    """
    for item in subset.items:
        if item != item.strip() or len(item.splitlines()) != 1:
            raise UsageError(
                f"image name {item!r} cannot stand on a line of a subset file",
                needed="no line break and no outer space",
            )
    path, text = Path(path), "\n".join(subset.items) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    if notes:
        write_json(path.with_suffix(".json"), {"images": len(subset.items), **notes})


def read_subset(path: str | Path, name: str | None = None) -> Subset:
    """Read a subset file; its name is the file's stem unless given.

    Raises:
        UsageError: no such file, no names in it, or a name twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no subset file {path}", fix="draw one, or correct the path")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    items = tuple(line for line in lines if line)
    if not items:
        raise UsageError(f"subset file {path} lists no image")
    if len(set(items)) != len(items):
        raise UsageError(f"subset file {path} lists an image twice")
    return Subset(name or path.stem, items)
