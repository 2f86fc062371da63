"""Pictures beside a table: scans of validation in the colours of the truth and of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from densecl.files import write_atomically
from densecl.transfer.study import RowSpec
from densecl.transfer.table import Table
from pointcl.transfer.clouds import LabelledScans
from pointcl.transfer.controls import OnVoxels
from pointcl.transfer.evaluation import predict_scans
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.retrieval import RetrievalSpec
from pointcl.viz.colours import by_label
from pointcl.viz.html import Shown
from pointcl.viz.sheet import scan_sheet

SCANS, ROWS = 3, 4
"""Most scans of a sheet, and most rows of the table."""


def row_predictions(
    row: RowSpec, spec: OnVoxels, file: Path, seed: int, scans: LabelledScans
) -> list[np.ndarray]:
    """(N,) int64 class of every point of each scan, by a kept run of a row."""
    state = torch.load(file, weights_only=True)
    trained: Any = spec.restore(state, row.init_for(seed), seed=seed, device="cpu")
    if isinstance(spec, RetrievalSpec):
        fallback = trained.commonest
    else:
        bias = trained.head.bias if isinstance(spec, FinetuneSpec) else trained.readout.bias
        fallback = int(bias.argmax())
    with torch.no_grad():
        return predict_scans(
            lambda batch: spec.predict(trained, batch),
            scans,
            voxels=spec.voxels,
            fallback=fallback,
        )


def prediction_sheet(
    scans: LabelledScans,
    predicted: Mapping[str, Sequence[np.ndarray]],
    palette: np.ndarray,
    classes: Sequence[str],
    *,
    size: tuple[int, int] = (400, 560),
) -> np.ndarray:
    """One scan a line: the truth, and the prediction of each row, seen from above.

    Args:
        scans: what to show.
        predicted: row -> classes of the points of each scan.
        palette: (L, 3) uint8.
        classes: L names.
        size: (H, W) of a picture.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    shown = []
    for position in range(len(scans)):
        scan = scans[position]
        columns = {"truth": np.asarray(scan.label)}
        columns |= {name: found[position] for name, found in predicted.items()}
        colours = {name: by_label(ids, palette, classes) for name, ids in columns.items()}
        shown.append(Shown(scan.points, colours, scan.name))
    return scan_sheet(shown, view="above", size=size)


def write_pictures(
    rows: Sequence[RowSpec], table: Table, folder: Path, val: Any, log: Callable[[str], None]
) -> None:
    """Write ``predictions.png`` of a table's reference and last rows, where their runs are kept."""
    sheet = table_sheet(rows, table, val)
    if sheet is None:
        return
    path = folder / "predictions.png"
    _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_atomically(path, lambda temporary: temporary.write_bytes(data.tobytes()))
    log(f"pictures of validation scans: {path}")


def table_sheet(rows: Sequence[RowSpec], table: Table, val: Any) -> np.ndarray | None:
    """Some scans in the colours of the truth and of the rows; None where no run was kept."""
    chosen = torch.linspace(0, len(val) - 1, min(SCANS, len(val))).round().long().tolist()
    scans = LabelledScans(val, chosen)
    specs = {row.name: row for row in rows}
    kept = [r for r in table.rows if r.trained is not None and r.trained[1].is_file() and r.scores]
    kept = [row for row in kept if row.name == table.reference] + [
        row for row in kept if row.name != table.reference
    ][1 - ROWS :]
    if not kept:
        return None
    predicted = {}
    for row in kept:
        assert row.trained is not None
        spec, file = row.trained
        assert isinstance(spec, OnVoxels)
        seed = next(iter(row.scores))[0]
        predicted[row.name] = row_predictions(specs[row.name], spec, file, seed, scans)
    return prediction_sheet(scans, predicted, val.palette, val.classes)
