import numpy as np
import pytest
import torch

from densecl.data.sample import Frame, Sample
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.views.generator import ViewGenerator
from densecl.views.view import ViewBatch

PLAIN = {"jitter": 0.0, "grey": 0.0, "blur": 0.0}


def ramp_frame(height=30, width=30, flow=False, offset=0):
    y, x = np.mgrid[:height, :width]
    image = np.stack([8 * x + 8, 8 * y + 8, np.full_like(x, offset)], axis=-1).astype(np.uint8)
    ids = (y * width + x).astype(np.int32)
    field = np.stack([x, y], axis=-1).astype(np.float32) if flow else None
    return Frame(image, {"region": ids, "label": ids % 7}, field)


def sample(*frames, source=3):
    return Sample(frames or (ramp_frame(),), source=source, name="ramp.png")


def view_centres(view):
    height, width = view.image.shape[1:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((x, y), dim=-1)


def same(a, b):
    return all(
        torch.equal(u.image, v.image) and torch.equal(u.geometry.matrix, v.geometry.matrix)
        for u, v in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hflip": 1.0},
        {"vflip": 1.0},
        {"hflip": 1.0, "vflip": 1.0, "scale": (0.05, 0.1)},
        {"rotation": 40.0, "hflip": 0.5},
        {"shear": 30.0, "rotation": 10.0, "vflip": 0.5},
    ],
)
def test_pixels_lie_where_the_geometry_says(settings):
    generator = ViewGenerator("mocov2", (24, 40), 2, seed=1, **PLAIN, **settings)
    means = []
    for epoch in range(12):
        for view in generator(sample(), epoch):
            seen = (view.image[:2].permute(1, 2, 0).double() - 8) / 8 + 0.5
            said = view.geometry.to_canonical(view_centres(view)).double()
            # the edge of the image and of the crop has nothing to interpolate with
            inner = ((said > 1.5) & (said < 28.5)).all(-1)
            inner[[0, 1, 2, -3, -2, -1]] = False
            inner[:, [0, 1, 2, -3, -2, -1]] = False
            if not inner.any():
                continue
            error = (seen - said)[inner]
            # two roundings to 1/8 px of the ramp, and 1/12 px of area averaging
            assert error.abs().max() < 0.22
            means.append(error.mean(0))
    # a flip's or half a pixel's error would show in the mean, rounding does not
    assert torch.stack(means).mean(0).abs().max() < 0.04


@pytest.mark.parametrize("settings", [{}, {"hflip": 1.0, "vflip": 1.0}, {"rotation": 50.0}])
def test_maps_take_the_nearest_pixel(settings):
    generator = ViewGenerator("mocov2", (24, 40), 1, **PLAIN, **settings)
    for epoch in range(8):
        (view,) = generator(sample(), epoch)
        said = view.geometry.to_canonical(view_centres(view)).double()
        inside = ((said >= 0) & (said < 30)).all(-1)
        safe = (said - said.round()).abs().amin(-1) > 1e-4  # not on a border between pixels
        ids = said[..., 1].floor() * 30 + said[..., 0].floor()
        assert torch.equal(view.maps["region"][inside & safe], ids[inside & safe].long())
        assert (view.maps["region"][~inside & safe] == -1).all()
        assert (view.maps["label"][~inside & safe] == 255).all()
        assert view.maps["label"].dtype == torch.int64
        if settings.get("rotation"):
            assert view.valid is None or torch.equal(view.valid[safe], inside[safe])
        else:
            assert view.valid is None


def test_rotated_views_know_what_lies_outside():
    generator = ViewGenerator("none", 30, 1, rotation=45.0, fill=(9, 8, 7))
    views = [generator(sample(), epoch)[0] for epoch in range(5)]
    view = next(v for v in views if v.valid is not None)
    assert not view.valid[0, 0]
    assert view.valid[15, 15]
    assert view.image[:, ~view.valid].T.unique(dim=0).tolist() == [[9, 8, 7]]


def test_none_recipe_is_a_resize_of_the_whole_image():
    frame = ramp_frame()
    (view,) = ViewGenerator("none", 30, 1)(sample(frame), 0)
    assert np.array_equal(view.image.permute(1, 2, 0).numpy(), frame.image)
    assert torch.equal(view.geometry.matrix, torch.eye(2, 3))
    (small,) = ViewGenerator("none", (10, 15), 1)(sample(), 0)
    assert small.image.shape == (3, 10, 15)
    assert torch.equal(
        small.geometry.to_canonical(torch.tensor([15.0, 10.0])), torch.full((2,), 30.0)
    )


def test_a_view_depends_on_seed_epoch_source_and_slot_alone():
    generator = ViewGenerator("byol", 32, 2, seed=5)
    first = generator(sample(), 7)
    generator(sample(source=9), 1)  # what ran before does not matter
    assert same(first, generator(sample(), 7))
    assert same(first, ViewGenerator("byol", 32, 2, seed=5)(sample(), 7))
    assert same(first, ViewGenerator("byol", 32, 5, seed=5)(sample(), 7)[:2])
    for other in (
        generator(sample(), 8),
        generator(sample(source=4), 7),
        ViewGenerator("byol", 32, 2, seed=6)(sample(), 7),
        first[::-1],
    ):
        assert not same(first, other)


def test_colour_settings_leave_the_crops_as_they_are():
    plain = ViewGenerator("mocov2", 32, 2, **PLAIN)(sample(), 0)
    coloured = ViewGenerator("mocov2", 32, 2)(sample(), 0)
    for a, b in zip(plain, coloured, strict=True):
        assert torch.equal(a.geometry.matrix, b.geometry.matrix)


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(0)
    torch.manual_seed(0)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state())
    ViewGenerator("byol", 32, 2)(sample(), 0)
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_flips_come_half_the_time():
    generator = ViewGenerator("mocov2", 8, 2, **PLAIN)
    flipped = [
        view.geometry.linear[0, 0] < 0
        for epoch in range(500)
        for view in generator(sample(), epoch)
    ]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.065)  # four standard deviations


def test_byol_views_alternate_for_more_than_two():
    generator = ViewGenerator("byol", 16, 4)
    assert [recipe.blur for recipe in generator.recipes] == [1.0, 0.1, 1.0, 0.1]


def test_overrides_are_per_view_and_may_set_the_size():
    small = {"size": 16, "scale": (0.05, 0.14)}
    generator = ViewGenerator("mocov2", 32, 4, overrides=[{}, {}, small, small], grey=0.0)
    views = generator(sample(), 0)
    assert [view.image.shape[1] for view in views] == [32, 32, 16, 16]
    areas = [view.geometry.linear.det().abs() * view.image[0].numel() / 900 for view in views]
    assert all(area < 0.16 for area in areas[2:])
    assert all(recipe.grey == 0.0 for recipe in generator.recipes)


def test_clip_views_come_from_their_frames_and_carry_flow():
    frames = [ramp_frame(flow=True, offset=10), ramp_frame(flow=True, offset=90)]
    generator = ViewGenerator("mocov2", 24, 4, **PLAIN)
    views = generator(sample(*frames), 0)
    assert [view.frame for view in views] == [0, 1, 0, 1]
    assert [int(view.image[2].float().mean().round()) for view in views] == [10, 90, 10, 90]
    for view in views:
        # this flow is the position of the pixel it stands in
        said = view.geometry.to_canonical(view_centres(view))
        assert (view.flow - (said - 0.5)).abs().max() <= 0.5 + 1e-4


def test_flow_is_nan_where_there_is_none():
    frame = ramp_frame(flow=True)
    frame.flow[:, 15:] = np.nan
    (view,) = ViewGenerator("none", 30, 1, rotation=30.0)(sample(frame), 2)
    x = view.geometry.to_canonical(view_centres(view))[..., 0]
    missing = view.flow.isnan().any(-1)
    assert missing[(x > 15.1)].all()
    assert missing[~view.valid].all()
    assert not missing[view.valid & (x < 14.9)].any()


def test_min_overlap_holds_for_all_views():
    def box(view):
        corners = torch.tensor([[0.0, 0.0], [16.0, 16.0]])
        points = view.geometry.to_canonical(corners)
        return *points.amin(0).tolist(), *points.amax(0).tolist()

    settings = {"scale": (0.05, 0.2), **PLAIN}
    free, tied = (
        [ViewGenerator("mocov2", 16, 3, min_overlap=m, **settings)(sample(), e) for e in range(60)]
        for m in (0.0, 0.5)
    )

    def worst(samples):
        least = 1.0
        for views in samples:
            a = box(views[0])
            for b in map(box, views[1:]):
                w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
                h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
                area = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
                least = min(least, w * h / area)
        return least

    assert worst(free) == 0.0
    assert worst(tied) >= 0.5 - 1e-4


def test_images_smaller_than_the_view_are_enlarged():
    tiny = Frame(rng(0).integers(0, 256, (3, 2, 3), dtype=np.uint8))
    for view in ViewGenerator("mocov2", 32, 2)(sample(tiny), 0):
        assert view.image.shape == (3, 32, 32)
        assert view.source_size == (3, 2)


def test_views_collate_to_batches():
    generator = ViewGenerator("mocov2", 16, 2, rotation=20.0)
    items = [generator(sample(ramp_frame(flow=True), source=s), 0) for s in range(3)]
    batch = ViewBatch.collate([item[1] for item in items])
    assert batch.image.shape == (3, 3, 16, 16)
    assert batch.image.dtype == torch.uint8
    assert batch.source.tolist() == [0, 1, 2]
    assert batch.source_size.tolist() == [[30, 30]] * 3
    assert batch.maps["label"].shape == batch.flow.shape[:3] == (3, 16, 16)
    points = torch.rand(3, 5, 2) * 16
    for b in range(3):
        expected = items[b][1].geometry.to_canonical(points[b])
        assert torch.equal(batch.geometry.to_canonical(points)[b], expected)


def test_sample_is_not_modified():
    frame = ramp_frame(flow=True)
    ViewGenerator("byol", 16, 2, rotation=30.0)(sample(frame), 0)
    fresh = ramp_frame(flow=True)
    assert np.array_equal(frame.image, fresh.image)
    assert np.array_equal(frame.maps["region"], fresh.maps["region"])
    assert np.array_equal(frame.flow, fresh.flow)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"size": 0}, "size"),
        ({"size": (8, 8, 8)}, "size"),
        ({"size": 8.5}, "size"),
        ({"num_views": 0}, "num_views"),
        ({"min_overlap": 2.0}, "min_overlap"),
        ({"num_views": 1, "overrides": [{}, {}]}, "overrides"),
        ({"overrides": [{"gray": 0.0}]}, "grey"),
        ({"brigthness": 0.0}, "brightness"),
    ],
)
def test_bad_settings_are_refused(settings, word):
    with pytest.raises(UsageError, match=word):
        ViewGenerator("mocov2", **settings)


def test_bad_frames_are_refused_by_name():
    grey = Frame(np.zeros((8, 8), np.uint8))
    real = Frame(np.zeros((8, 8, 3), np.float32))
    other = Frame(np.zeros((8, 8, 3), np.uint8), {"label": np.zeros((4, 4), np.uint8)})
    for frame in (grey, real, other):
        with pytest.raises(UsageError, match=r"ramp\.png"):
            ViewGenerator("mocov2", 8)(sample(frame), 0)
