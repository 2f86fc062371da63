from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.transfer.propagation.affinity import Neighbourhood, carry_labels
from densecl.transfer.propagation.video import (
    Context,
    first_labels,
    frame_size,
    propagate_video,
    resize_frame,
    to_masks,
)


def context(frames=20, top_k=10, temperature=0.07, neighbourhood=None, **more):
    near = neighbourhood or Neighbourhood("circle", 3.0)
    return Context(frames, top_k, temperature, near, **more)


def codes(h, w):
    """A code of its own for each cell: (h w, h, w)."""
    return torch.eye(h * w).view(h * w, h, w)


def hot(ids, count):
    return torch.nn.functional.one_hot(ids, count).permute(2, 0, 1).float()


def test_a_video_that_stands_still_keeps_its_mask():
    ids = torch.randint(0, 3, (6, 7), generator=torch.Generator().manual_seed(0))
    for soft in propagate_video([codes(6, 7)] * 6, hot(ids, 3), context()):
        assert torch.equal(soft.argmax(0), ids)


def test_labels_follow_a_circular_shift_inside_the_circle():
    ids = torch.zeros(6, 12, dtype=torch.long)
    ids[2:4, 4:6] = 1
    frames = [codes(6, 12).roll(t, dims=2) for t in range(6)]
    for t, soft in enumerate(propagate_video(frames, hot(ids, 2), context()), start=1):
        assert torch.equal(soft.argmax(0)[:, 4:], ids.roll(t, dims=1)[:, 4:]), t
    # from the first frame alone the way is too long once it is the radius
    for t, follows in ((2, True), (3, False)):
        soft = carry_labels(
            frames[t].permute(1, 2, 0),
            frames[0].permute(1, 2, 0)[None],
            hot(ids, 2).permute(1, 2, 0)[None],
            top_k=1,
            temperature=0.07,
            neighbourhood=Neighbourhood("circle", 3.0),
        )
        assert torch.equal(soft.argmax(2)[:, 4:], ids.roll(t, dims=1)[:, 4:]) is follows


@pytest.mark.parametrize("more", [{}, {"first_twice": False}, {"first": False}])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_the_frames_that_label_a_frame(more, length):
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(5, 4, 6, generator=generator) for _ in range(7)]
    first = torch.softmax(torch.randn(3, 4, 6, generator=generator), 0)
    settings = {"top_k": 4, "temperature": 0.3, "neighbourhood": Neighbourhood("circle", 2.0)}
    found = list(propagate_video(features, first, Context(length, **settings, **more)))
    assert len(found) == 6
    rows = [f.permute(1, 2, 0) / f.norm(dim=0)[..., None] for f in features]
    labels = [first.permute(1, 2, 0)]
    for t in range(1, 7):
        sources = list(range(max(0, t - length), t))
        if more.get("first", True) and not (more.get("first_twice") is False and 0 in sources):
            sources = [0, *sources]
        keys = torch.stack([rows[s] for s in sources])
        values = torch.stack([labels[s] for s in sources])
        labels.append(carry_labels(rows[t], keys, values, **settings))
        torch.testing.assert_close(found[t - 1], labels[t].permute(2, 0, 1))


def test_a_frame_is_answered_before_the_next_one_is_read():
    read = []

    def stream():
        for t in range(5):
            read.append(t)
            yield codes(3, 4)

    found = propagate_video(stream(), hot(torch.zeros(3, 4, dtype=torch.long), 2), context())
    next(found)
    assert read == [0, 1]


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="labels"):
        next(propagate_video([codes(3, 4)], torch.zeros(2, 3, 3), context()))


def test_first_labels_read_the_pixel_under_the_centre_of_a_cell():
    ids = np.random.default_rng(0).choice([-1, 2, 9, 30], (23, 31))
    labels = first_labels(ids, (2, 30), (5, 7)).numpy()
    assert labels.shape == (3, 5, 7)
    for i in range(5):
        for j in range(7):
            number = ids[int((i + 0.5) * 23 / 5), int((j + 0.5) * 31 / 7)]
            assert labels[:, i, j].tolist() == [number not in (2, 30), number == 2, number == 30]


def test_an_object_smaller_than_a_cell_may_have_none():
    ids = np.full((16, 16), -1)
    ids[0, 0] = 5
    assert first_labels(ids, (5,), (2, 2))[1].sum() == 0
    ids[4, 4] = 5
    assert first_labels(ids, (5,), (2, 2))[1].sum() == 1


def test_masks_are_decided_after_every_channel_is_stretched():
    soft = torch.zeros(3, 4, 4)
    soft[0] = 0.9
    soft[0, 1, 1] = 0.8
    soft[1] = 0.05
    soft[1, 1, 1] = 0.2  # faint, but nowhere stronger
    ids = to_masks(soft, (4, 9), (4, 4), -1)
    expected = np.full((4, 4), -1)
    expected[1, 1] = 4
    assert ids.tolist() == expected.tolist()
    assert ids.dtype == np.int32


def test_masks_against_loops():
    soft = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    soft[2] = 0
    ids = to_masks(soft, (1, 2), (5, 6), 0)
    values = soft.double().numpy()
    for channel in values[:2]:
        channel -= channel.min()
        channel /= channel.max()
    for r in range(5):
        for c in range(6):
            assert ids[r, c] == max(range(3), key=lambda k: (values[k, r, c], -k))


def test_masks_are_interpolated_between_the_centres_of_cells():
    soft = torch.zeros(2, 1, 4)
    soft[0, 0] = torch.tensor([1.0, 1, 0, 0])
    soft[1] = 1 - soft[0]
    assert to_masks(soft, (1,), (1, 16), 0).tolist() == [[0] * 8 + [1] * 8]


def test_without_any_object_all_is_background():
    soft = torch.zeros(2, 3, 3)
    soft[0] = 1
    assert (to_masks(soft, (3,), (6, 6), -1) == -1).all()


@pytest.mark.parametrize(
    ("size", "short", "multiple", "expected"),
    [
        ((480, 854), 480, 1, (480, 854)),
        ((240, 428), 480, 1, (480, 856)),
        ((480, 854), 480, 64, (480, 832)),
        ((854, 480), 480, 64, (832, 480)),
        ((1080, 1920), 480, 64, (480, 832)),
        ((30, 40), None, 1, (30, 40)),
        ((30, 40), None, 64, (30, 64)),
    ],
)
def test_sizes_of_frames(size, short, multiple, expected):
    assert frame_size(size, short, multiple) == expected


def test_frames_of_the_right_size_are_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    assert resize_frame(image, (6, 8)) is image
    assert resize_frame(image, (3, 4)).shape == (3, 4, 3)
    # averaged, not picked
    assert abs(resize_frame(image, (1, 1)).astype(float) - image.mean((0, 1))).max() <= 1
