from __future__ import annotations

from collections import namedtuple

import pytest

from densecl.engine import disk
from densecl.engine.disk import require_space
from densecl.errors import UsageError

Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_refused_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(0, 0, 3 * 2**20))
    require_space(tmp_path, 3 * 2**20, "x")
    with pytest.raises(UsageError, match="3 MiB free") as caught:
        require_space(tmp_path, 5 * 2**20, "the next checkpoint")
    assert "5 MiB for the next checkpoint" in caught.value.needed
