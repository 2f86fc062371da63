from __future__ import annotations

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import checks


def test_records_are_the_numbers_of_the_file(tmp_path):
    values = np.random.default_rng().normal(size=(7, 5)).astype("<f4")
    (tmp_path / "a").write_bytes(values.tobytes())
    assert np.array_equal(checks.read_records(tmp_path / "a", 5), values)
    (tmp_path / "a").write_bytes(values.tobytes()[:-1])
    with pytest.raises(UnreadableFileError, match="139 bytes are no multiple of the 20 of a row"):
        checks.read_records(tmp_path / "a", 5)
    with pytest.raises(UnreadableFileError, match="No such file"):
        checks.read_records(tmp_path / "b", 5)


def test_rows_of_text(tmp_path):
    path = tmp_path / "a"
    path.write_text("1 2\n\n 3 4e0 \n")
    assert checks.read_rows(path).tolist() == [[1, 2], [3, 4]]
    assert checks.read_rows(path, 2).shape == (2, 2)
    path.write_text("\n")
    assert checks.read_rows(path, 12).shape == (0, 12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 2\n3\n", "line 2: '3' is not 2 finite numbers"),
        (b"1 inf\n", "line 1: '1 inf' is not 2 finite numbers"),
        (b"1 a\n", "line 1: could not convert"),
        (b"\xff\xfe", "it is no text"),
        (b"", "empty"),
    ],
)
def test_text_that_is_no_table_of_numbers(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message):
        checks.read_rows(tmp_path / "a", 2)


def test_intensity_is_divided_by_its_top(tmp_path):
    values = np.array([0, 51, 255], np.uint8)
    scaled = checks.scale_intensity(values, 255, tmp_path)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [0, 0.2, 1], rtol=1e-6)
    for bad in ([-0.1], [1.1], [np.nan]):
        with pytest.raises(UnreadableFileError, match="intensity"):
            checks.scale_intensity(np.array(bad), 1.0, tmp_path)


def test_finite_rows(tmp_path):
    values = np.zeros((5, 3))
    assert checks.require_finite(values, tmp_path, "points") is values
    values[[2, 4], [0, 1]] = np.nan, np.inf
    with pytest.raises(UnreadableFileError, match=r"points: 2 of 5 rows .* the first is 2"):
        checks.require_finite(values, tmp_path, "points")


def test_no_skipping_of_what_concerns_all_scans(tmp_path):
    with pytest.raises(UsageError, match="a: bad\n  to fix: mend") as error, checks.at_start():
        raise UnreadableFileError("a", "bad")
    assert not isinstance(error.value, UnreadableFileError)
