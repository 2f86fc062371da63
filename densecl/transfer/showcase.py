"""Pictures of a finished table: what the segmentors of its rows predict, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from densecl.transfer.finetuning import FinetuneSpec, build_started
from densecl.transfer.images import LabelledImages
from densecl.transfer.input import to_input
from densecl.transfer.pictures import colourise
from densecl.transfer.segmentation import predict
from densecl.transfer.study import Study
from densecl.transfer.table import Row, Table
from densecl.viz.tile import enlarge, grid


def row_predictions(row: Row, images: LabelledImages) -> list[np.ndarray]:
    """Class ids (H, W) that the first run of a row predicts for each image.

    Raises:
        ValueError: the row has no finished run, or its weights were not kept.
    """
    if row.trained is None or not row.trained[1].is_file():
        raise ValueError(f"row {row.name!r} has no kept segmentor")
    spec, file = row.trained
    if not isinstance(spec, FinetuneSpec):
        raise ValueError(f"row {row.name!r} is of a probe, which has no segmentor")
    segmentor, _ = build_started(spec, None, 0, 0)
    segmentor.load_state_dict(torch.load(file, weights_only=True))
    segmentor.train(False)
    predicted = []
    with torch.no_grad():
        for position in range(len(images)):
            image, truth = images[position]
            inputs = to_input(image[None], spec, torch.device("cpu"))
            predicted.append(predict(segmentor, inputs, truth.shape)[0].numpy())
    return predicted


def prediction_sheet(
    table: Table,
    names: Sequence[str],
    images: LabelledImages,
    palette: Sequence[Sequence[int]],
    *,
    height: int = 150,
) -> np.ndarray:
    """One image a line: the picture, the truth, and the prediction of each named row.

    Returns:
        (H', W', 3) uint8.
    """
    rows = {row.name: row for row in table.rows}
    predicted = {name: row_predictions(rows[name], images) for name in names}
    lines = []
    for position in range(len(images)):
        image, truth = images[position]
        maps = [truth, *(predicted[name][position] for name in names)]
        painted = [enlarge(colourise(ids, palette), height, smooth=False) for ids in maps]
        lines.append([enlarge(image, height), *painted])
    return grid(lines, ["picture", "truth", *names])


SHOWN, HEIGHT = 4, 150
"""Most pictures of a sheet, and how tall they are."""


def table_pictures(study: Study, table: Table, dataset: Any) -> dict[str, np.ndarray]:
    """What the runs of a table can show of a data set, by the task's own ``pictures``.

    Of each row the first pair's run at the chosen rate is shown, as far as its weights were kept.

    Args:
        study, table: the runs and what they found.
        dataset: that the scores are of.

    Returns:
        Stem of a file -> (H, W, 3) uint8; empty where the task shows nothing.
    """
    task = study.protocol.spec
    draw = getattr(task, "pictures", None)
    rows = {row.name: row for row in study.rows}
    trained = {}
    for row in table.rows:
        if draw is None or row.trained is None or row.name not in rows:
            continue
        spec, file = row.trained
        if not isinstance(spec, type(task)) or not row.scores or not file.is_file():
            continue
        seed = next(iter(row.scores))[0]
        state = torch.load(file, weights_only=True, map_location=study.device)
        init = rows[row.name].init_for(seed)
        trained[row.name] = spec.restore(state, init, seed=seed, device=study.device)
    return draw(trained, task.select(dataset), study.device) if draw and trained else {}


def segmentation_pictures(
    predictors: Mapping[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]],
    images: LabelledImages,
    num_classes: int,
) -> dict[str, np.ndarray]:
    """A few pictures with truth and predictions side by side.

    Args:
        predictors: row -> from an image (H, W, 3) uint8 and the size of its label map to class
            ids (H, W).
        images: that are scored.
        num_classes: L, for colours where the data set has none.
    """
    palette = palette_of(images.dataset, num_classes)
    chosen = np.linspace(0, len(images) - 1, min(SHOWN, len(images))).round().astype(int)
    lines = []
    for position in chosen.tolist():
        image, truth = images[position]
        height, width = truth.shape
        maps = [truth, *(of(image, (height, width)) for of in predictors.values())]
        painted = [enlarge(colourise(ids, palette), HEIGHT, smooth=False) for ids in maps]
        # all of a line are as wide as the truth, whatever the run resized the picture to
        first = cv2.resize(image, (painted[0].shape[1], HEIGHT), interpolation=cv2.INTER_AREA)
        lines.append([first, *painted])
    return {"predictions": grid(lines, ["picture", "truth", *predictors])}


def palette_of(dataset: Any, num_classes: int) -> list[tuple[int, ...]]:
    """The data set's colours of its classes, or as many hues."""
    own = getattr(dataset, "palette", None)
    if own is not None and len(own) == num_classes:
        return [tuple(int(part) for part in colour) for colour in own]
    hues = np.arange(num_classes, dtype=np.float32) * 180 / max(num_classes, 1)
    hsv = np.stack([hues, np.full_like(hues, 170), np.full_like(hues, 220)], axis=1)
    rgb = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    return [tuple(int(part) for part in colour) for colour in rgb]
