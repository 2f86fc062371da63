"""From data set to batches of views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2
from torch.utils.data import DataLoader, Dataset

from densecl.data.sample import Sample
from densecl.data.sampler import StepSampler
from densecl.errors import UsageError
from densecl.views.view import View, ViewBatch

if TYPE_CHECKING:
    from densecl.views.generator import ViewGenerator


class SampleSource(Protocol):
    """What a data set must offer: ``ImageDataset``, ``Streets`` and any object of this shape."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def name(self, index: int) -> str:
        """Path or key of a sample, for messages."""


class ViewDataset(Dataset[list[View]]):
    """The views of a data set, indexed by (epoch, index).

    Args:
        dataset: yields samples.
        generator: cuts their views.
    """

    def __init__(self, dataset: SampleSource, generator: ViewGenerator) -> None:
        self.dataset, self.generator = dataset, generator

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> list[View]:
        """The views of sample ``index`` in ``epoch``.

        Raises:
            UsageError: the sample is unreadable or does not fit the views.
            RuntimeError: anything else that went wrong, with the sample's name.
        """
        epoch, index = key
        try:
            return self.generator(self.dataset[index], epoch)
        except UsageError as error:
            # rebuilt from one message on its way out of a worker, which a subclass may not allow
            raise UsageError(error.given, needed=error.needed, fix=error.fix) from None
        except Exception as error:
            name = self.dataset.name(index)
            raise RuntimeError(f"sample {index} ({name}), epoch {epoch}: {error}") from error


def collate_views(items: Sequence[Sequence[View]]) -> list[ViewBatch]:
    """B lists of V views to V batches of B."""
    return [ViewBatch.collate(slot) for slot in zip(*items, strict=True)]


def build_loader(
    dataset: SampleSource,
    generator: ViewGenerator,
    batch_size: int,
    num_workers: int = 0,
    seed: int = 0,
    start_batch: int = 0,
    *,
    rank: int = 0,
    world_size: int = 1,
    prefetch_factor: int = 2,
    collate: Callable[[Sequence], Any] | None = None,
) -> DataLoader[list[View]]:
    """An endless loader of ``list[ViewBatch]``; the stream does not depend on ``num_workers``.

    Every ``iter()`` of it starts again at ``start_batch``.

    Args:
        dataset: yields samples.
        generator: cuts their views.
        batch_size: samples per batch and process.
        num_workers: worker processes; 0 = in this one.
        seed: seed of the order of samples (the views have the generator's).
        start_batch: batches already consumed.
        rank, world_size: this process's share of each epoch.
        prefetch_factor: batches each worker prepares ahead.
        collate: makes a batch of B lists of views; None = ``collate_views``.

    Raises:
        UsageError: a batch is larger than the data set.
    """
    sampler = StepSampler(
        len(dataset),
        batch_size,
        seed=seed,
        start=start_batch,
        rank=rank,
        world_size=world_size,
    )
    return DataLoader(
        ViewDataset(dataset, generator),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate or collate_views,
        worker_init_fn=_single_threaded,
        persistent_workers=num_workers > 0,
        prefetch_factor=prefetch_factor if num_workers > 0 else None,
    )


def _single_threaded(worker: int) -> None:
    # each worker is one core's work already; cv2's pool would oversubscribe the machine
    cv2.setNumThreads(0)
