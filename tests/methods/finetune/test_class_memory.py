from __future__ import annotations

import torch

from densecl.methods.finetune.class_memory import ClassMemory


def slow_push(kept, rows, labels, size):
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        kept.setdefault(label, []).append(row)
        del kept[label][:-size]


def test_the_last_rows_of_every_class_stay_as_in_a_list():
    generator = torch.Generator().manual_seed(0)
    memory, kept = ClassMemory(4, 5, 3), {}
    for count in (0, 7, 1, 30, 4, 12):
        rows = torch.randn(count, 3, generator=generator)
        labels = torch.randint(0, 3, (count,), generator=generator)
        memory.push(rows, labels)
        slow_push(kept, rows, labels, 5)
        found = {}
        for row, label in zip(*(part.tolist() for part in memory.kept()), strict=True):
            found.setdefault(label, []).append(row)
        assert {label: sorted(each) for label, each in found.items()} == {
            label: sorted(each) for label, each in kept.items()
        }


def test_an_empty_memory_has_no_keys_and_leaves_no_trace_in_a_state_dict():
    memory = ClassMemory(4, 5, 3)
    rows, labels = memory.kept()
    assert (rows.shape, labels.shape) == ((0, 3), (0,))
    assert not memory.state_dict()


def test_rows_are_kept_without_their_gradient():
    memory = ClassMemory(2, 2, 3)
    memory.push(torch.randn(2, 3, requires_grad=True), torch.tensor([0, 1]))
    assert not memory.kept()[0].requires_grad
