"""The module that is trained: a point method behind what makes its batches ready."""

from __future__ import annotations

from dataclasses import replace

from densecl.engine.model import InputNorm, PretrainModel
from densecl.methods.base import Method
from pointcl.views.batch import PointBatch


class PointModel(PretrainModel):
    """Batches on the model's device, pictures normalised.

    Args:
        method: what is trained.
        norm: of the pictures; None where the method takes none.
    """

    sample = "scan"

    def __init__(self, method: Method, norm: InputNorm | None = None) -> None:
        super().__init__(method)
        self.norm = norm

    def batch_size(self, batch: PointBatch) -> int:
        """Samples of a batch."""
        return len(batch)

    def prepare(self, batch: PointBatch) -> PointBatch:
        """The batch with float pictures."""
        batch = batch.to(self.device)
        if batch.pictures is None or self.norm is None:
            return batch
        views = batch.pictures.views
        views = replace(views, image=self.norm(views.image))
        return replace(batch, pictures=replace(batch.pictures, views=views))
