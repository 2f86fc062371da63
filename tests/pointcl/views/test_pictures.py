import numpy as np
import pytest
import torch

from densecl.data.sample import Frame
from densecl.errors import UsageError
from densecl.views.generator import cut_view
from densecl.views.geometry import Affine
from pointcl.views import Links, PictureBatch, PictureGenerator

SIZE = (90, 160)


def ramp(size=SIZE):
    """A picture that says where it was cut: red = x, green = y; and ids of blocks of pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.stack([x * 255 // size[1], y * 255 // size[0], 0 * x], -1).astype(np.uint8)
    return Frame(image, {"region": y // 10 * 100 + x // 10})


def links_to(count, n=4000, size=SIZE, seed=0):
    g = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]])
    return Links(
        torch.arange(n),
        torch.arange(n) % count,
        torch.rand(n, 2, generator=g) * extent,
        torch.zeros(count, dtype=torch.int64),
        (n,),
    )


def test_the_worked_example_of_a_crop():
    # crop (row 100, column 200, 700 high, 1100 wide) to 224 x 416: (850, 400) -> (246, 96),
    # mirrored (169, 96); the positions there are whole numbers of pixels, ours their centres
    centre = torch.tensor([[850.5, 400.5]], dtype=torch.float64)
    for hflip, expected in ((False, [246, 96]), (True, [169, 96])):
        geometry = Affine.from_crop((200, 100, 1300, 800), (224, 416), hflip)
        place = geometry.from_canonical(centre)
        assert place.floor().tolist() == [expected]
        x = 650.5 * 416 / 1100
        exact = torch.tensor([[416 - x if hflip else x, 300.5 * 224 / 700]])
        # half a pixel of the reference's rounding would be 1000 times as much
        assert torch.allclose(place, exact.double(), atol=5e-4)


def test_pixels_go_where_their_picture_goes():
    frames, links = [ramp(), ramp(), ramp()], links_to(3)
    pictures = PictureGenerator((45, 80), min_links=100, hflip=0.5)(
        frames, links, epoch=0, source=7
    )
    assert len(pictures.views) == 3
    kept = {int(p): k for k, p in enumerate(pictures.links.point)}
    dropped = 0
    for image, view in enumerate(pictures.views):
        assert view.image.shape == (3, 45, 80)
        assert view.image.dtype == torch.uint8
        assert view.source == 7
        (a, _, tx), (_, d, ty) = view.geometry.matrix.double().tolist()
        for link in range(image, len(links), 3):
            x, y = links.pixel[link].tolist()
            at = ((x - tx) / a, (y - ty) / d)
            if not (0 <= at[0] < 80 and 0 <= at[1] < 45):
                dropped += int(links.point[link]) not in kept
                continue
            row = kept[int(links.point[link])]
            assert pictures.links.image[row] == image
            # float32 holds a position in the view to 4e-6, the matrix adds 1e-5
            assert pictures.links.pixel[row].tolist() == pytest.approx(at, abs=1e-4)
    assert len(pictures.links) + dropped == len(links)
    assert dropped > 0


def test_positions_lead_back_to_the_camera_below_a_thousandth_of_a_pixel():
    size = (900, 1600)
    links = links_to(2, size=size)
    pictures = PictureGenerator()([ramp(size), ramp(size)], links, epoch=3, source=0)
    for image, view in enumerate(pictures.views):
        mine = pictures.links.image == image
        back = view.geometry.to_canonical(pictures.links.pixel[mine].double())
        was = links.pixel[pictures.links.point[mine]].double()
        assert (back - was).abs().max() < 1e-3


def test_views_show_what_is_at_the_links():
    frames, links = [ramp()], links_to(1)
    pictures = PictureGenerator((90, 160), min_links=0, scale=(0.3, 1.0))(
        frames, links, epoch=1, source=0
    )
    view, moved = pictures.views[0], pictures.links
    column, row = moved.pixel.floor().long().unbind(1)
    seen = view.image[:2, row, column].T.double()
    was = links.pixel[moved.point].double() * 255 / torch.tensor([SIZE[1], SIZE[0]])
    # a grey level of rounding and one view pixel of distance from its centre
    assert (seen - was).abs().max() < 4.5
    region = view.maps["region"][row, column]
    inner = ((links.pixel[moved.point] % 10 - 5).abs() < 4).all(1)
    x, y = (links.pixel[moved.point][inner] // 10).long().unbind(1)
    assert inner.sum() > 300
    assert torch.equal(region[inner], y * 100 + x)


def test_mirrored_pictures_mirror_their_links():
    frames, links = [ramp()], links_to(1)
    plain, mirrored = (
        PictureGenerator((45, 80), hflip=chance)(frames, links, epoch=0, source=0)
        for chance in (0.0, 1.0)
    )
    assert torch.equal(plain.views[0].image.flip(2), mirrored.views[0].image)
    assert torch.equal(plain.views[0].maps["region"].flip(1), mirrored.views[0].maps["region"])
    # a link within rounding of the border may be in on one side only
    common = set(plain.links.point.tolist()) & set(mirrored.links.point.tolist())
    assert len(common) >= len(plain.links) - 2
    at = {int(p): q for p, q in zip(plain.links.point, plain.links.pixel, strict=True)}
    for p, q in zip(mirrored.links.point.tolist(), mirrored.links.pixel, strict=True):
        if p in common:
            assert float(at[p][0] + q[0]) == pytest.approx(80, abs=1e-4)
            assert float(at[p][1]) == pytest.approx(float(q[1]), abs=1e-4)


def test_validation_only_resizes():
    frames, links = [ramp(), ramp()], links_to(2)
    generator = PictureGenerator((45, 80), crop=False)
    pictures = generator(frames, links, epoch=0, source=0)
    assert len(pictures.links) == len(links)
    assert torch.allclose(pictures.links.pixel, links.pixel / 2, atol=1e-5)
    again = generator(frames, links, epoch=9, source=4)
    assert torch.equal(again.views[0].image, pictures.views[0].image)


def test_crops_keep_enough_links_or_enough_of_them():
    frames = [ramp()]
    for n, enough in ((4000, 1024), (400, 300)):
        for epoch in range(15):
            links = links_to(1, n)
            pictures = PictureGenerator()(frames, links, epoch=epoch, source=0)
            # of 4000 uniform links the smallest crops keep 1200: all draws are good
            assert len(pictures.links) >= enough


def test_where_no_crop_is_good_the_best_of_fifty_is_taken():
    frames, links = [ramp()], links_to(1, 300)
    # crops of 0.3 of the picture hold 90 links or so, never 200
    generator = PictureGenerator(min_links=200, min_share=0.75, scale=(0.3, 0.31))
    best = [generator(frames, links, epoch=e, source=0) for e in range(10)]
    counts = [len(pictures.links) for pictures in best]
    # a crop still, not the whole picture
    sides = [p.views[0].geometry.linear.diagonal() * torch.tensor([416.0, 224.0]) for p in best]
    assert max(float(side.abs().prod()) for side in sides) < 0.33 * SIZE[0] * SIZE[1]
    first = PictureGenerator(min_links=0, min_share=0.0, scale=(0.3, 0.31))
    any_crop = [len(first(frames, links, epoch=e, source=0).links) for e in range(10)]
    assert min(counts) > np.mean(any_crop)


def test_crops_have_the_published_area_and_shape():
    frames, links = [ramp((900, 1600))], links_to(1, 10, (900, 1600))
    generator = PictureGenerator(min_links=0)
    area, aspect = [], []
    for epoch in range(60):
        view = generator(frames, links.filter(torch.zeros(10, dtype=bool)), epoch=epoch, source=0)
        sides = view.views[0].geometry.linear.diagonal().abs() * torch.tensor([416.0, 224.0])
        area.append(float(sides.prod()) / (900 * 1600))
        aspect.append(float(sides[0] / sides[1]))
    assert 0.29 < min(area) < 0.45
    assert max(area) <= 1.001
    assert min(aspect) > 14 / 9 - 0.01
    assert max(aspect) < 17 / 9 + 0.01
    assert max(aspect) - min(aspect) > 0.2


def test_a_picture_depends_on_seed_epoch_scan_and_camera_alone():
    frames, links = [ramp(), ramp(), ramp()], links_to(3)
    generator = PictureGenerator((20, 36), min_links=100)

    def boxes(generator=generator, epoch=2, source=5, cameras=None):
        found = generator(frames, links, epoch=epoch, source=source, cameras=cameras)
        return [view.geometry.matrix.tolist() for view in found.views]

    assert boxes() == boxes()
    first = boxes()
    assert len({str(box) for box in first}) == 3
    assert all(a != b for a, b in zip(first, boxes(epoch=3), strict=True))
    assert all(a != b for a, b in zip(first, boxes(source=6), strict=True))
    other = PictureGenerator((20, 36), min_links=100, seed=1)
    assert all(a != b for a, b in zip(first, boxes(other), strict=True))
    # in another order each camera has its own draw
    order = [2, 0, 1]
    swapped = Links(
        links.point,
        torch.tensor([1, 2, 0])[links.image],
        links.pixel,
        links.scan,
        links.counts,
    )
    moved = generator([frames[c] for c in order], swapped, epoch=2, source=5, cameras=order)
    assert [v.geometry.matrix.tolist() for v in moved.views] == [first[c] for c in order]


def test_colours_are_left_alone_unless_asked_for():
    frames, links = [ramp()], links_to(1)
    plain = PictureGenerator((45, 80))(frames, links, epoch=0, source=0)
    grey = PictureGenerator((45, 80), grey=1.0)(frames, links, epoch=0, source=0)
    assert torch.equal(plain.views[0].geometry.matrix, grey.views[0].geometry.matrix)
    assert (grey.views[0].image[0] == grey.views[0].image[1]).all()
    assert not (plain.views[0].image[0] == plain.views[0].image[1]).all()


def test_a_picture_without_links_is_still_cut():
    frames = [ramp(), ramp()]
    links = links_to(2).filter(torch.zeros(4000, dtype=torch.bool))
    pictures = PictureGenerator((45, 80))(frames, links, epoch=0, source=0)
    assert len(pictures.views) == 2
    assert len(pictures.links) == 0
    assert pictures.links.num_points == 4000


def test_batches_number_the_pictures_of_all_scans():
    generator = PictureGenerator((45, 80), min_links=10)
    items = [
        generator([ramp()] * count, links_to(count, 60, seed=source), epoch=0, source=source)
        for source, count in ((11, 2), (12, 3))
    ]
    batch = PictureBatch.collate(items)
    assert batch.views.image.shape == (5, 3, 45, 80)
    assert batch.views.source.tolist() == [11, 11, 12, 12, 12]
    assert batch.links.scan.tolist() == [0, 0, 1, 1, 1]
    assert batch.links.counts == (60, 60)
    assert torch.equal(batch.links.pixel, torch.cat([item.links.pixel for item in items]))
    second = batch.links.scan[batch.links.image] == 1
    assert torch.equal(batch.links.point[second] - 60, items[1].links.point)
    assert batch.views.maps["region"].shape == (5, 45, 80)
    assert batch.to("cpu").links.image.device.type == "cpu"


def test_the_cut_is_that_of_two_dimensional_views():
    # one source of pixels for both packages
    frame = ramp()
    generator = PictureGenerator((45, 80), crop=False)
    view = generator([frame], links_to(1), epoch=0, source=0).views[0]
    same = cut_view(frame, (0, 0, 160, 90), generator.recipe, (45, 80), np.random.default_rng(0))
    assert torch.equal(view.image, same.image)


def test_impossible_settings_are_refused():
    for settings in (
        {"size": (224,)},
        {"min_share": 1.5},
        {"min_links": -1},
        {"scal": (0.3, 1)},
        {"rotation": 10.0},
    ):
        with pytest.raises(UsageError):
            PictureGenerator(**settings)
    with pytest.raises(ValueError, match="2 pictures"):
        PictureGenerator()([ramp()], links_to(2), epoch=0, source=0)
