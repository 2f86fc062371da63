"""Keeping some samples of a data set: a fraction, names, or a file of names."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from densecl.data.streets.draw import rng
from densecl.errors import UsageError


def choose(
    names: Sequence[str], subset: float | str | Path | Sequence[str] | None, *key: int | str
) -> list[int]:
    """Indices of the samples to keep.

    Args:
        names: of all samples.
        subset: a fraction (subsets of growing fractions are nested), a list of names, or a
            file with one name a line; None = all.
        key: of the draw that a fraction makes.

    Raises:
        UsageError: no such fraction, file or name, or no name at all.
    """
    count = len(names)
    if subset is None:
        return list(range(count))
    if isinstance(subset, int | float):
        if not 0 < subset <= 1:
            raise UsageError(f"subset={subset}", needed="a fraction above 0 and up to 1")
        order = rng(*key, count).permutation(count)
        return sorted(order[: ceil(subset * count)].tolist())
    if isinstance(subset, str | Path):
        path = Path(subset)
        if not path.is_file():
            raise UsageError(f"subset file {path} does not exist", fix="give a list file")
        subset = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    where = {name: k for k, name in enumerate(names)}
    unknown = [name for name in subset if name not in where]
    if unknown or not subset:
        given = f"subset names {unknown[:3]}" if unknown else "subset is empty"
        raise UsageError(given, needed=f"names such as {names[0]}", fix="take names from name(i)")
    return [where[name] for name in subset]
