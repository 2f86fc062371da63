import cv2
import numpy as np
import pytest


@pytest.fixture
def write_image():
    """Write an image whose grey level says which one it is."""

    def write(path, level=0, size=(12, 16)):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((*size, 3), level, np.uint8))
        return path

    return write
