import pytest
import torch

from densecl.memory import Centre


def test_the_first_update_sets_the_centre_and_later_ones_mix():
    centre = Centre(2, momentum=0.9)
    rows = torch.tensor([[4.0, 8.0]])
    assert torch.equal(centre(rows), rows)
    centre.update(torch.tensor([2.0, 4.0]), 2)
    assert centre.centre.tolist() == [1.0, 2.0]
    centre.update(torch.tensor([30.0, 0.0]), 10)
    assert centre.centre.tolist() == pytest.approx([0.9 + 0.3, 1.8])
    assert centre(rows)[0].tolist() == pytest.approx([2.8, 6.2])


def test_a_step_without_rows_changes_nothing():
    centre = Centre(2)
    centre.update(torch.zeros(2), 0)
    assert not centre.live
    centre.update(torch.ones(2), 1)
    centre.update(torch.zeros(2), 0)
    assert centre.centre.tolist() == [1.0, 1.0]


def test_micro_batches_of_any_size_give_the_centre_of_the_whole():
    rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    whole, parts = Centre(3), Centre(3)
    whole.update(rows.sum(0), 10)
    parts.update(rows[:3].sum(0) + rows[3:].sum(0), 10)
    assert torch.allclose(whole.centre, parts.centre, atol=1e-6)


def test_a_checkpoint_restores_whether_it_is_live(tmp_path):
    centre = Centre(2)
    centre.update(torch.tensor([2.0, 4.0]), 2)
    torch.save(centre.state_dict(), tmp_path / "c.pth")
    resumed = Centre(2)
    resumed.load_state_dict(torch.load(tmp_path / "c.pth", weights_only=True))
    for one in (centre, resumed):
        one.update(torch.tensor([30.0, 0.0]), 10)
    assert torch.equal(centre.centre, resumed.centre)


def test_rows_keep_their_gradient():
    centre, rows = Centre(2), torch.ones(3, 2, requires_grad=True)
    centre.update(torch.ones(2), 1)
    centre(rows).sum().backward()
    assert rows.grad.tolist() == [[1.0, 1.0]] * 3
