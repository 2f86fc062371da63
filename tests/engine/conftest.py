"""Makes the dummy method and data importable, and registered while a test of the engine runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import engine_dummy


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """Tests of other packages must not meet the dummies in the registries."""
    engine_dummy.register()
    yield
    engine_dummy.unregister()
