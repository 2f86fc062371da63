from itertools import islice

import pytest

from densecl.data import StepSampler
from densecl.data.sampler import epoch_order
from densecl.errors import UsageError


def take(count, *args, **kwargs):
    return list(islice(StepSampler(*args, **kwargs), count))


def test_an_epoch_is_a_permutation_without_the_rest():
    batches = take(3, 10, 3, seed=0)
    flat = [index for batch in batches for _, index in batch]
    assert len(set(flat)) == 9
    assert set(flat) <= set(range(10))
    assert [epoch for batch in batches for epoch, _ in batch] == [0] * 9


def test_epochs_and_seeds_have_their_own_order():
    first, second = take(2, 8, 8, seed=0)
    assert [e for e, _ in second] == [1] * 8
    orders = {tuple(i for _, i in batch) for batch in (first, second, take(1, 8, 8, seed=1)[0])}
    assert len(orders) == 3
    assert [i for _, i in first] == epoch_order(0, 0, 8).tolist()


@pytest.mark.parametrize("start", [0, 1, 3, 4, 7, 100])
def test_a_restart_continues_the_unbroken_stream(start):
    assert take(6, 10, 3, seed=2, start=start) == take(start + 6, 10, 3, seed=2)[start:]


def test_ranks_share_one_epoch_without_overlap():
    ranks = [take(5, 23, 2, seed=3, rank=rank, world_size=2) for rank in range(2)]
    single = take(5, 23, 4, seed=3)
    assert [a + b for a, b in zip(*ranks, strict=True)] == single


def test_it_can_be_iterated_twice():
    sampler = StepSampler(10, 3, seed=0)
    assert list(islice(sampler, 4)) == list(islice(sampler, 4))
    assert sampler.batches_per_epoch == 3


@pytest.mark.parametrize(("batch", "world"), [(11, 1), (4, 3), (0, 1)])
def test_batch_larger_than_the_data_is_refused(batch, world):
    with pytest.raises(UsageError, match=r"loader\.batch_size"):
        StepSampler(10, batch, seed=0, world_size=world)


def test_wrong_rank_or_start_is_refused():
    with pytest.raises(ValueError):
        StepSampler(10, 2, seed=0, rank=2, world_size=2)
    with pytest.raises(ValueError):
        StepSampler(10, 2, seed=0, start=-1)
