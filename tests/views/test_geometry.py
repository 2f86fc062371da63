import subprocess
import sys

import pytest
import torch

from densecl.views.geometry import Affine, Chain, Cylinder, DenseMap

FLIPS = [(False, False), (True, False), (False, True), (True, True)]


def random_affine(d, batch=None):
    shape = (d, d + 1) if batch is None else (batch, d, d + 1)
    matrix = 0.3 * torch.randn(shape)
    matrix[..., :d] += torch.eye(d)
    matrix[..., -1] *= 100
    return Affine(matrix)


def pixel_centres(height, width):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((x, y), dim=-1)


@pytest.mark.parametrize(("hflip", "vflip"), FLIPS)
def test_crop_maps_view_corners_to_box_corners(hflip, vflip):
    geometry = Affine.from_crop((3, 4.5, 53, 24.5), (40, 25), hflip, vflip)
    corners = geometry.to_canonical(torch.tensor([[0.0, 0.0], [25.0, 40.0]]))
    x = (53.0, 3.0) if hflip else (3.0, 53.0)
    y = (24.5, 4.5) if vflip else (4.5, 24.5)
    assert torch.equal(corners, torch.tensor([[x[0], y[0]], [x[1], y[1]]]))


def test_flipped_crop_has_a_negative_scale():
    linear = Affine.from_crop((0, 0, 20, 10), (5, 5), hflip=True).linear
    assert torch.equal(linear, torch.tensor([[-4.0, 0.0], [0.0, 2.0]]))


def test_identity_crop_keeps_pixel_centres():
    geometry = Affine.from_crop((0, 0, 9, 7), (7, 9))
    assert torch.equal(geometry.to_canonical(pixel_centres(7, 9)), pixel_centres(7, 9))


def test_first_cell_of_a_map_lies_at_half_a_stride():
    # 224 px view of the box (10, 20) - (122, 244): cell (0, 0) of 7 x 7 covers 32 view pixels
    geometry = Affine.from_crop((10, 20, 122, 244), (224, 224))
    assert torch.equal(
        geometry.to_canonical(torch.tensor([16.0, 16.0])), torch.tensor([18.0, 36.0])
    )


@pytest.mark.parametrize(("hflip", "vflip"), FLIPS)
def test_crop_round_trip_is_sub_pixel(hflip, vflip):
    geometry = Affine.from_crop((1111, 333, 4001, 2777), (224, 320), hflip, vflip)
    points = torch.rand(1000, 2) * 224
    # 1e-3 px: float32 holds 4000 to 2.4e-4
    assert (geometry.from_canonical(geometry.to_canonical(points)) - points).abs().max() < 1e-3


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("batch", [None, 3])
def test_affine_round_trip(d, batch):
    geometry = random_affine(d, batch)
    points = torch.randn(50, d) if batch is None else torch.randn(batch, 50, d)
    back = geometry.from_canonical(geometry.to_canonical(points))
    assert (back - points).abs().max() < 1e-2
    exact = Affine(geometry.matrix.double())
    back = exact.from_canonical(exact.to_canonical(points.double()))
    assert (back - points).abs().max() < 1e-9


@pytest.mark.parametrize("d", [2, 3])
def test_affine_equals_a_loop_of_matrix_products(d):
    geometry, points = random_affine(d, 2), torch.randn(2, 5, d)
    result = geometry.to_canonical(points)
    for b in range(2):
        for n in range(5):
            expected = geometry.linear[b] @ points[b, n] + geometry.translation[b]
            torch.testing.assert_close(result[b, n], expected)


@pytest.mark.parametrize("d", [2, 3])
def test_inverse_equals_the_linear_algebra_one(d):
    geometry = Affine(random_affine(d, 4).matrix.double())
    torch.testing.assert_close(geometry.invert().linear, torch.linalg.inv(geometry.linear))
    torch.testing.assert_close(
        geometry.invert().compose(geometry).matrix, torch.eye(d, d + 1).double().expand(4, -1, -1)
    )


def test_batched_equals_unbatched():
    items = [Affine.from_crop((i, 2 * i, 30, 40), (16, 8), hflip=i == 1) for i in range(3)]
    points = torch.rand(3, 6, 2)
    batched = Affine.stack(items)
    for name in ("to_canonical", "from_canonical"):
        result = getattr(batched, name)(points)
        expected = torch.stack([getattr(g, name)(p) for g, p in zip(items, points, strict=True)])
        assert torch.equal(result, expected)


@pytest.mark.parametrize("d", [2, 3])
def test_compose_applies_self_first(d):
    inner, outer = random_affine(d), random_affine(d)
    points = torch.randn(20, d)
    together = inner.compose(outer)
    assert isinstance(together, Affine)
    expected = outer.to_canonical(inner.to_canonical(points))
    torch.testing.assert_close(together.to_canonical(points), expected, rtol=1e-4, atol=1e-3)
    assert (inner.compose(outer).matrix - outer.compose(inner).matrix).abs().max() > 1e-2


def test_crop_of_a_crop_is_inner_then_outer():
    outer = Affine.from_crop((10, 20, 50, 60), (80, 80))  # a step of the view is half a pixel
    inner = Affine.from_crop((8, 8, 24, 24), (16, 16))
    assert torch.equal(
        inner.compose(outer).to_canonical(torch.zeros(2)), torch.tensor([14.0, 24.0])
    )


def test_chain_runs_from_the_view_outwards():
    inner, outer = random_affine(3), random_affine(3)
    chain = inner.compose(Cylinder()).compose(outer)
    assert isinstance(chain, Chain)
    assert len(chain.parts) == 3
    points = torch.randn(20, 3)
    expected = outer.to_canonical(Cylinder().to_canonical(inner.to_canonical(points)))
    torch.testing.assert_close(chain.to_canonical(points), expected)
    expected = inner.from_canonical(Cylinder().from_canonical(outer.from_canonical(points)))
    torch.testing.assert_close(chain.from_canonical(points), expected)


def test_chain_round_trip():
    chain = Cylinder().compose(random_affine(3))
    points = torch.tensor([[2.0, 0.5, 1.0], [0.3, -3.0, -1.0]])
    back = chain.from_canonical(chain.to_canonical(points))
    torch.testing.assert_close(back, points, atol=1e-3, rtol=1e-3)


def test_chains_stack_link_by_link():
    chains = [random_affine(3).compose(Cylinder()) for _ in range(2)]
    points = torch.rand(2, 4, 3)
    result = Chain.stack(chains).to_canonical(points)
    for b in range(2):
        torch.testing.assert_close(result[b], chains[b].to_canonical(points[b]))


@pytest.mark.parametrize("autocast", [False, True])
def test_float_points_survive_autocast(autocast):
    geometry = Affine.from_crop((1000, 1000, 1224, 1224), (224, 224))
    points = torch.tensor([[100.25, 3.75]])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        assert torch.equal(geometry.to_canonical(points), torch.tensor([[1100.25, 1003.75]]))


def test_integer_points_become_float():
    result = Affine.from_crop((0, 0, 5, 5), (10, 10)).to_canonical(torch.tensor([[1, 3]]))
    assert torch.equal(result, torch.tensor([[0.5, 1.5]]))


@pytest.mark.parametrize(
    "matrix",
    [
        torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]),
        torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        torch.tensor([[float("nan"), 0.0, 0.0], [0.0, 1.0, 0.0]]),
        torch.stack([torch.eye(3, 4), torch.zeros(3, 4)]),
    ],
)
def test_singular_or_broken_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match=r"singular|NaN"):
        Affine(matrix)


def test_strongly_shrinking_matrix_is_not_singular():
    Affine(torch.tensor([[1e-6, 0.0, 0.0], [0.0, 1e-6, 0.0]]))


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 5), (2,), (1, 2, 3, 4)])
def test_wrong_matrix_shape_is_refused(shape):
    with pytest.raises(ValueError):
        Affine(torch.ones(shape))


def test_wrong_points_are_refused():
    with pytest.raises(ValueError, match="points"):
        Affine.identity(2).to_canonical(torch.zeros(4, 3))
    batched = Affine.stack([Affine.identity(2)] * 2)
    for points in (torch.zeros(3, 5, 2), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match="points"):
            batched.to_canonical(points)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (9, 0, 5, 9), (0, 4, 5, 4)])
def test_empty_box_is_refused(box):
    with pytest.raises(ValueError, match="empty crop"):
        Affine.from_crop(box, (8, 8))


def test_stacking_unlike_maps_is_refused():
    with pytest.raises(ValueError, match="stack"):
        Affine.stack([Affine.identity(3), Cylinder()])
    with pytest.raises(ValueError, match="nothing"):
        Affine.stack([])


def test_cylinder_of_known_points():
    points = torch.tensor([[1.0, 0.0, 5.0], [0.0, 2.0, -1.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 7.0]])
    pi = torch.pi
    polar = torch.tensor([[1.0, 0.0, 5.0], [2.0, pi / 2, -1.0], [3.0, pi, 0.0], [0.0, 0.0, 7.0]])
    torch.testing.assert_close(Cylinder().from_canonical(points), polar)
    torch.testing.assert_close(Cylinder().to_canonical(polar), points, atol=1e-6, rtol=0)


def test_cylinder_round_trip():
    points = 50 * torch.randn(200, 3)
    back = Cylinder().to_canonical(Cylinder().from_canonical(points))
    assert (back - points).abs().max() < 1e-4


@pytest.mark.parametrize("batch", [None, 2])
def test_dense_map_of_an_affine_field_is_that_affine(batch):
    affine = Affine.from_crop((3, 4, 50, 60), (6, 9), hflip=True)
    field = affine.to_canonical(pixel_centres(6, 9))
    points = torch.rand(30, 2) * torch.tensor([9.0, 6.0])
    dense = DenseMap(field)
    if batch:
        dense, points = DenseMap.stack([dense] * batch), points.expand(batch, -1, -1)
    expected = Affine.stack([affine] * batch) if batch else affine
    torch.testing.assert_close(dense.to_canonical(points), expected.to_canonical(points))


def test_batched_dense_map_reads_each_sample_from_its_own_field():
    fields = torch.randn(3, 4, 5, 2)
    centres = pixel_centres(4, 5).reshape(1, -1, 2).expand(3, -1, -1)
    torch.testing.assert_close(DenseMap(fields).to_canonical(centres), fields.reshape(3, -1, 2))


def test_dense_map_is_bilinear_between_centres():
    field = torch.randn(2, 2, 2)
    x, y = 0.25, 0.75
    expected = (1 - y) * ((1 - x) * field[0, 0] + x * field[0, 1]) + y * (
        (1 - x) * field[1, 0] + x * field[1, 1]
    )
    torch.testing.assert_close(
        DenseMap(field).to_canonical(torch.tensor([x + 0.5, y + 0.5])), expected
    )


def test_dense_map_is_nan_outside_and_where_the_field_is():
    field = pixel_centres(4, 4).clone()
    field[1, 1] = torch.nan
    dense = DenseMap(field)
    points = torch.tensor([[1.5, 1.5], [1.9, 1.5], [0.5, 1.5], [-0.1, 1.0], [4.1, 1.0], [0.0, 4.0]])
    bad = dense.to_canonical(points).isnan().any(-1)
    assert bad.tolist() == [True, True, False, True, True, False]


def test_dense_map_of_one_pixel_is_constant():
    dense = DenseMap(torch.tensor([[[7.0, 8.0]]]))
    assert torch.equal(dense.to_canonical(torch.tensor([[0.1, 0.9]])), torch.tensor([[7.0, 8.0]]))


def test_dense_map_inverts_only_with_an_inverse_field():
    forward = Affine.from_crop((0, 0, 20, 10), (5, 5))
    field = forward.to_canonical(pixel_centres(5, 5))
    with pytest.raises(ValueError, match="no inverse"):
        DenseMap(field).from_canonical(torch.zeros(2))
    dense = DenseMap(field, forward.from_canonical(pixel_centres(10, 20)))
    points = torch.rand(20, 2) * 5
    torch.testing.assert_close(dense.from_canonical(dense.to_canonical(points)), points)
    stacked = DenseMap.stack([dense, dense])
    assert stacked.inverse is not None


def test_gradient_reaches_the_points():
    geometry = random_affine(2)
    points = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    exact = Affine(geometry.matrix.double())
    assert torch.autograd.gradcheck(exact.to_canonical, points)
    assert torch.autograd.gradcheck(exact.from_canonical, points)


def test_geometry_needs_torch_alone():
    code = (
        "import sys, densecl.views.geometry, densecl.views.view; "
        "bad = {'cv2', 'albumentations', 'mmengine', 'densecl.data'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
