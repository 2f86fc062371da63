"""Scans as bytes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from pointcl.data.streets import record


def test_a_scan_survives_packing(turned):
    _, first, _ = turned
    again = record.unpack(record.pack(first))
    for field in fields(first):
        one, two = getattr(first, field.name), getattr(again, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
    assert again.time == first.time
    np.testing.assert_array_equal(again.motion.to_numbers(), first.motion.to_numbers())
    for name in ("box", "label", "instance"):
        np.testing.assert_array_equal(getattr(again.objects, name), getattr(first.objects, name))
    assert list(again.mounts) == list(first.mounts)
    for name, mount in first.mounts.items():
        np.testing.assert_array_equal(again.mounts[name].to_ego, mount.to_ego)
        assert again.mounts[name].lag == mount.lag
        assert again.mounts[name].field_of_view == mount.field_of_view


def test_the_same_scan_gives_the_same_bytes(turned):
    assert record.pack(turned[1]) == record.pack(turned[1])
