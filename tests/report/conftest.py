from __future__ import annotations

import pytest
from report.evaluations import write_evaluation
from report.structure import Page

from densecl.report import write


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "evaluation")


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Folder, page and text of the evaluation as it stands."""
    folder = write_evaluation(tmp_path_factory.mktemp("written"))
    report = write(folder)
    return folder, report.html.read_text(encoding="utf-8"), report.markdown.read_text("utf-8")


@pytest.fixture(scope="session")
def page(written):
    return Page(written[1])
