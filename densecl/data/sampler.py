"""Which samples make batch n: a function of the seed, without any state to restore."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from densecl.data.seeding import rng
from densecl.errors import UsageError


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, index), from any batch on.

    Each epoch is a permutation of its own; what does not fill a batch of all ranks is left out of
    that epoch. Batch n is the same whether the stream began at 0 or at n.

    Args:
        num_samples: size of the data set.
        batch_size: samples per batch and rank.
        seed: seed of the permutations.
        start: batches already consumed (per rank).
        rank, world_size: this process's share: ranks get neighbouring slices of one permutation.

    Raises:
        UsageError: a batch of all ranks is larger than the data set.
        ValueError: rank outside the world, or a negative start.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size or start < 0:
            raise ValueError(f"rank {rank} of {world_size}, start {start}")
        total = batch_size * world_size
        if batch_size < 1 or total > num_samples:
            raise UsageError(
                f"a batch of {total} samples ({batch_size} x {world_size} processes) "
                f"from a data set of {num_samples}",
                needed="a batch of at least 1 and at most the whole data set",
                fix=f"set loader.batch_size to at most {num_samples // world_size}",
            )
        self.num_samples, self.batch_size, self.seed, self.start = (
            num_samples,
            batch_size,
            seed,
            start,
        )
        self.rank, self.world_size = rank, world_size

    @property
    def batches_per_epoch(self) -> int:
        """Batches each rank draws in an epoch."""
        return self.num_samples // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, batch = divmod(self.start, self.batches_per_epoch)
        while True:
            order = epoch_order(self.seed, epoch, self.num_samples)
            for number in range(batch, self.batches_per_epoch):
                first = (number * self.world_size + self.rank) * self.batch_size
                indices = order[first : first + self.batch_size]
                yield [(epoch, int(index)) for index in indices]
            epoch, batch = epoch + 1, 0


def epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """(num_samples,) int64: the permutation of an epoch."""
    return rng(seed, epoch).permutation(num_samples)
