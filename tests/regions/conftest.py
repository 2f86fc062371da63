import numpy as np
import pytest


@pytest.fixture
def random():
    return np.random.default_rng()


@pytest.fixture
def picture():
    """A grey wall with a red square off the border and a blue floor, slightly noisy."""
    image = np.full((48, 64, 3), 120, np.uint8)
    image[36:] = (60, 70, 160)
    image[12:28, 20:40] = (200, 40, 40)
    noise = np.random.default_rng(3).integers(-6, 7, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def scattered(random):
    """Random ids with holes, -1 among them."""
    return random.integers(-1, 6, (11, 14))
