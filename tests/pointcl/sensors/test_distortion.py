import cv2
import numpy as np
import pytest

from pointcl.sensors import distort, fold_radius, undistort

MODELS = {
    "barrel": (-0.34, 0.12, 1e-3, -2e-3),
    "barrel, third order": (-0.3, 0.1, 1e-3, -5e-4, -0.02),
    "pincushion": (0.2, 0.05, 0.0, 1e-3, 0.01),
    "rational": (-0.3, 0.1, 1e-3, 2e-3, 0.02, 0.1, 0.2, 0.03),
}


def in_view(model, n=500):
    """Points within the part of the plane where the lens model holds."""
    random = np.random.default_rng(0)
    radius = min(0.7, 0.95 * fold_radius(model)) * np.sqrt(random.random(n))
    angle = random.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_agrees_with_opencv(model):
    plane = in_view(model)
    space = np.column_stack([plane, np.ones(len(plane))])
    theirs = cv2.projectPoints(space, np.zeros(3), np.zeros(3), np.eye(3), np.array(model))[0]
    # two float64 evaluations of one polynomial
    np.testing.assert_allclose(distort(plane, model), theirs[:, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_undistort_leads_back(model):
    plane = in_view(model)
    # 1e-9 of the focal length: a millionth of a pixel
    np.testing.assert_allclose(undistort(distort(plane, model), model), plane, atol=1e-9)


def test_no_distortion_changes_nothing():
    plane = np.random.default_rng(0).normal(size=(20, 2))
    assert np.array_equal(distort(plane, (0, 0, 0, 0)), plane)
    assert fold_radius((0, 0, 0, 0)) == np.inf


def test_fold_radius_in_closed_form():
    # r (1 - r^2 / 3) has its maximum at r = 1
    assert fold_radius((-1 / 3, 0, 0, 0)) == pytest.approx(1, abs=1e-12)
    # a pole of the rational model is a limit too: 1 - r^2 / 4 = 0 at r = 2
    assert fold_radius((0, 0, 0, 0, 0, -1 / 4, 0, 0)) == pytest.approx(2, abs=1e-12)
    assert fold_radius((0.1, 0.1, 0, 0)) == np.inf


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_fold_radius_is_the_first_maximum_of_the_radial_part(model):
    radial = (*model[:2], 0.0, 0.0, *model[4:])
    limit = min(fold_radius(model), 3.0)
    radius = np.linspace(0, limit, 2000)
    seen = distort(np.stack([radius, 0 * radius], 1) * (1 - 1e-12), radial)[:, 0]
    assert (np.diff(seen) > 0).all()


def test_far_outside_the_view_there_is_no_image():
    # at r = 2, 63 degrees off the axis, 1 + k1 r^2 + k2 r^4 is 0: the middle of the picture
    model = (-0.34, 0.0225, 0.0, 0.0)
    far = np.array([[2.0, 0.0, 1.0]])
    seen = cv2.projectPoints(far, np.zeros(3), np.zeros(3), np.eye(3), np.array(model))[0]
    assert np.abs(seen).max() < 1e-12
    assert 0.9 < fold_radius(model) < 1.2
    assert np.isnan(distort(far[:, :2], model)).all()
    assert np.isfinite(distort(far[:, :2] * 0.45, model)).all()


def test_undistort_of_what_no_direction_shows_is_nan():
    model = (-1 / 3, 0, 0, 0)  # nothing is seen beyond 1 * (1 - 1/3)
    back = undistort(np.array([[0.7, 0.0], [0.6, 0.0], [np.nan, 0.0]]), model)
    assert np.isnan(back[[0, 2]]).all()
    assert distort(back[1], model)[0] == pytest.approx(0.6, abs=1e-9)


def test_no_points():
    model = MODELS["barrel"]
    assert distort(np.zeros((0, 2)), model).shape == (0, 2)
    assert undistort(np.zeros((0, 2)), model).shape == (0, 2)


@pytest.mark.parametrize("model", [(), (1.0, 2.0), (0.1,) * 6, (0.1, 0.2, np.nan, 0.0)])
def test_other_models_are_refused(model):
    with pytest.raises(ValueError, match="4, 5 or 8"):
        distort(np.zeros((1, 2)), model)
