import pytest
import torch

from densecl.errors import UsageError
from densecl.memory import Queue


def numbered(first, count, dim=2):
    """Rows that name themselves."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].expand(-1, dim)


def contents(queue):
    return queue.feature[:, 0].tolist()


def test_pushes_of_three_into_eight_wrap_in_two_slices():
    queue = Queue(2, 8)
    for i, where in enumerate(([0, 1, 2], [3, 4, 5], [6, 7, 0])):
        queue.push(numbered(10 * i, 3), torch.full((3,), i), step=i + 1)
        assert queue.feature[where, 0].tolist() == [10 * i, 10 * i + 1, 10 * i + 2]
        assert queue.source[where].tolist() == [i] * 3
        assert queue.pushed[where].tolist() == [i + 1] * 3
    assert contents(queue) == [22, 1, 2, 10, 11, 12, 20, 21]
    assert int(queue.pointer) == 1


def test_the_oldest_rows_are_replaced_first():
    queue = Queue(1, 8)
    kept = []
    for i in range(40):
        count = i % 5
        queue.push(numbered(1000 + 5 * i, count, 1), torch.arange(count), step=i)
        kept = (kept + numbered(1000 + 5 * i, count, 1)[:, 0].tolist())[-8:]
        assert sorted(queue.keys().feature[:, 0].tolist()) == sorted(kept)


@pytest.mark.parametrize("count", [8, 9, 21])
@pytest.mark.parametrize("before", [0, 3])
def test_a_push_of_the_capacity_or_more_keeps_the_newest(count, before):
    queue = Queue(1, 8)
    queue.push(numbered(900, before, 1))
    queue.push(numbered(0, count, 1), torch.arange(count), step=4)
    assert sorted(contents(queue)) == list(range(count - 8, count))
    assert sorted(queue.source.tolist()) == list(range(count - 8, count))
    queue.push(numbered(500, 1, 1))
    assert min(contents(queue)) == count - 7, "the oldest must go next"


def test_only_rows_that_were_pushed_are_keys():
    queue = Queue(2, 8)
    assert len(queue.keys()) == 0
    queue.push(numbered(5, 3), torch.tensor([7, 8, 9]))
    keys = queue.keys()
    assert keys.feature[:, 0].tolist() == [5, 6, 7]
    assert keys.source.tolist() == [7, 8, 9]
    assert keys.live.all()


def test_an_empty_push_changes_nothing():
    queue = Queue(2, 4)
    queue.push(numbered(0, 3))
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    queue.push(numbered(0, 0), torch.zeros(0, dtype=torch.int64))
    assert all(torch.equal(before[name], value) for name, value in queue.state_dict().items())


def test_a_random_start_is_unit_rows_all_live_of_no_source():
    queue = Queue(16, 100, start="random", seed=3)
    keys = queue.keys()
    assert len(keys) == 100
    assert torch.allclose(keys.feature.norm(dim=1), torch.ones(100), atol=1e-6)
    assert (keys.source == -1).all()
    assert torch.equal(queue.feature, Queue(16, 100, start="random", seed=3).feature)
    assert not torch.equal(queue.feature, Queue(16, 100, start="random", seed=4).feature)


def test_rows_are_stored_detached_in_float32():
    queue = Queue(2, 4)
    queue.push(numbered(1, 2).bfloat16().requires_grad_())
    assert queue.feature.dtype == torch.float32
    assert not queue.feature.requires_grad
    assert queue.feature.grad_fn is None


def test_a_checkpoint_restores_the_bank_and_where_it_writes_next(tmp_path):
    queue = Queue(2, 8)
    for i in range(4):
        queue.push(numbered(10 * i, 3), torch.full((3,), i), step=i)
    torch.save(queue.state_dict(), tmp_path / "q.pth")
    resumed = Queue(2, 8)
    resumed.load_state_dict(torch.load(tmp_path / "q.pth", weights_only=True))
    for bank in (queue, resumed):
        bank.push(numbered(90, 3), torch.full((3,), 9), step=5)
    for (name, a), b in zip(queue.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_age_is_the_mean_over_pushed_rows():
    queue = Queue(2, 8)
    assert queue.age(5) == 0.0
    queue.push(numbered(0, 2), step=1)
    queue.push(numbered(0, 2), step=3)
    assert queue.age(5) == 3.0
    assert Queue(2, 8, start="random").age(5) == 0.0


def test_a_push_between_forward_and_backward_is_caught():
    # keys() gives views; changing what a saved product needs must fail, not give a wrong gradient.
    queue = Queue(2, 4)
    queue.push(numbered(1, 4))
    query = torch.ones(3, 2, requires_grad=True)
    scores = (query @ queue.keys().feature.T).sum()
    queue.push(numbered(9, 1))
    with pytest.raises(RuntimeError, match="inplace"):
        scores.backward()


def test_wrong_input_is_refused():
    with pytest.raises(UsageError, match="start"):
        Queue(2, 4, start="zeros")
    with pytest.raises(UsageError, match="at least 1"):
        Queue(2, 0)
    with pytest.raises(ValueError, match="rows"):
        Queue(2, 4).push(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="source"):
        Queue(2, 4).push(torch.zeros(3, 2), torch.zeros(2))
