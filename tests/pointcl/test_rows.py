from __future__ import annotations

import numpy as np
import pytest

from pointcl.rows import every, some


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_columns_one_by_one_are_numpys_reductions(columns, count):
    random = np.random.default_rng((columns, count))
    values = random.choice([0.0, 1.0, np.nan, -2.0], (count, columns))
    before = values.copy()
    assert np.array_equal(every(np.isfinite(values)), np.isfinite(values).all(1))
    assert np.array_equal(some(values), values.any(1))
    assert np.array_equal(values, before, equal_nan=True)
    assert every(values > 0).dtype == some(values).dtype == bool
