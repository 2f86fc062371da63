"""The segmentation that docs/segments.md shows."""

from __future__ import annotations

import cv2
import numpy as np
from docs.pages import ROOT, blocks

from densecl.data import ImageFolder
from densecl.regions import SegmentStore


def test_the_segmentation_of_the_page_fills_a_store(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    image = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 5, axis=0)
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), image.repeat(3, axis=2))
    page = (ROOT / "docs" / "segments.md").read_text()
    (code,) = [b.text for b in blocks(page) if "class Brightness" in b.text]
    (tmp_path / "brightness.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import brightness

    report = brightness.fill(ImageFolder(tmp_path / "photos"), tmp_path / "store")
    assert (report.computed, report.regions) == (1, 4)
    store = SegmentStore.open(tmp_path / "store", {"type": "Brightness", "steps": 4})
    assert store.get("a.png").ids[0].tolist() == [n // 16 for n in range(64)]
