"""Columns of Apache Feather files, through pyarrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.formats.extra import need


def read_feather(path: Path, *columns: str) -> dict[str, np.ndarray]:
    """These columns of a file, each (N,).

    Raises:
        UnreadableFileError: missing, damaged, or without one of the columns.
        UsageError: pyarrow is not installed.
    """
    feather = need("pyarrow.feather", ".feather files")
    errors = (OSError, need("pyarrow", ".feather files").ArrowException)
    try:
        table = feather.read_table(path)
        there = table.column_names
        missing = [name for name in columns if name not in there]
        if missing:
            raise UnreadableFileError(
                path, f"it has no column {', '.join(missing)}, only {', '.join(there)}"
            )
        return {name: table[name].to_numpy() for name in columns}
    except errors as error:
        reason = "No such file or directory" if not path.exists() else str(error)
        raise UnreadableFileError(path, reason) from error
