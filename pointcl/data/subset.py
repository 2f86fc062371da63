"""Some scans of a data set, listed by name; and lists that part a drive by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from densecl.errors import UsageError
from densecl.files import write_atomically
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.scan import Scan
from pointcl.registry import DATASETS


@DATASETS.register_module()
class ScanSubset(ScanDataset):
    """The scans of another data set whose names are listed, in the order of the list.

    Args:
        dataset: a data set of scans, or the config of one.
        names: names of scans: a list, or a text file with one a line, as ``write_time_split`` and
            ``densecl.transfer.subsets`` write them.

    Raises:
        UsageError: no such file, no name, a name twice, or one that the data set lacks.
    """

    def __init__(
        self, dataset: ScanDataset | Mapping[str, Any], names: str | Path | Sequence[str]
    ) -> None:
        self.dataset: Any = (
            DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset
        )
        wanted = read_names(names, "data.names")
        where = {self.dataset.name(index): index for index in range(len(self.dataset))}
        missing = [name for name in wanted if name not in where]
        if missing:
            raise UsageError(
                f"data.names lists {len(missing)} scans that the data set lacks, the first is "
                f"{missing[0]!r}",
                needed=f"names such as {next(iter(where))!r}",
                fix="write the list anew from this data set",
            )
        if len(set(wanted)) != len(wanted):
            raise UsageError("data.names lists a scan twice")
        self.indices = [where[name] for name in wanted]
        super().__init__([self.dataset.sequences[index] for index in self.indices])
        self.classes = getattr(self.dataset, "classes", ())
        self.palette = getattr(self.dataset, "palette", self.palette)
        self.version = getattr(self.dataset, "version", "")

    def name(self, index: int) -> str:
        """Name of a scan in the data set."""
        return self.dataset.name(self.indices[index])

    def load(self, index: int) -> Scan:
        """Read one scan."""
        return self.dataset[self.indices[index]]

    def fingerprint(self) -> str:
        """Hash of the data set's own and of the scans chosen."""
        key = repr((self.dataset.fingerprint(), self.indices))
        return blake2b(key.encode(), digest_size=16).hexdigest()


def time_split(
    sequences: Sequence[str], shares: Mapping[str, float], gap: int = 0
) -> dict[str, list[int]]:
    """Part each drive into runs of neighbours, in the order of time.

    Neighbouring scans are near copies: drawn one by one, half of a drive would tell the other half.

    Args:
        sequences: drive of each scan, scans of a drive in the order of time.
        shares: part -> share of each drive, in the order of time; they sum to 1.
        gap: scans left out between two parts.

    Returns:
        part -> rows of its scans.

    Raises:
        UsageError: the shares do not sum to 1, or a part is left without a scan.
    """
    if min(shares.values(), default=0) <= 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise UsageError(f"shares {dict(shares)}", needed="numbers > 0 that sum to 1")
    found: dict[str, list[int]] = {part: [] for part in shares}
    ends = np.cumsum(list(shares.values()))
    for drive in dict.fromkeys(sequences):
        rows = [row for row, name in enumerate(sequences) if name == drive]
        room = len(rows) - gap * (len(shares) - 1)
        begin = 0
        for number, (part, share) in enumerate(zip(shares, ends, strict=True)):
            end = round(float(share) * room) + gap * number
            found[part] += rows[begin : max(begin, end)]
            begin = end + gap
    empty = [part for part, rows in found.items() if not rows]
    if empty:
        raise UsageError(
            f"no scan is left for {empty[0]!r}: {len(sequences)} scans, a gap of {gap}",
            fix="take a smaller gap or another share",
        )
    return found


def write_time_split(
    dataset: Any, folder: str | Path, shares: Mapping[str, float], gap: int = 0
) -> dict[str, Path]:
    """Write the names of ``time_split`` as ``<folder>/<part>.txt``, for ``ScanSubset``.

    Args:
        dataset: a data set of scans.
        folder: gets the files.
        shares, gap: see ``time_split``.

    Returns:
        part -> file.
    """
    paths = {}
    for part, rows in time_split(dataset.sequences, shares, gap).items():
        text = "".join(f"{dataset.name(row)}\n" for row in rows)
        path = paths[part] = Path(folder) / f"{part}.txt"
        _write(path, text)
    return paths


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
