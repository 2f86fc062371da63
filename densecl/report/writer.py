"""Write the report of an evaluation folder into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from densecl.files import write_atomically
from densecl.report.markdown import markdown
from densecl.report.page import page
from densecl.report.pictures import pack
from densecl.report.reader import read_evaluation

HTML, MARKDOWN = "report.html", "report.md"


@dataclass(frozen=True)
class Report:
    """Where a report lies.

    Attributes:
        html: one file that needs no other and no network.
        markdown: its text and tables; pictures are those of the folder.
    """

    html: Path
    markdown: Path


def write(folder: str | Path) -> Report:
    """Write ``report.html`` and ``report.md`` of an evaluation; the same files give the same bytes.

    Args:
        folder: that an evaluation was written into: ``evaluation.json`` and, for each table that
            it names, ``summary.json`` with, where there are any, ``items.json``, ``pictures/`` and
            ``pictures.json``. Tables that have not been run yet are said to be missing.

    Raises:
        UsageError: no evaluation, one of another schema, or a protocol without its hash.
    """
    folder = Path(folder)
    evaluation = read_evaluation(folder)
    pictures = [p.path for result in evaluation.results for p in result.pictures]
    report = Report(folder / HTML, folder / MARKDOWN)
    for path, text in (
        (report.html, page(evaluation, pack(pictures))),
        (report.markdown, markdown(evaluation)),
    ):
        _write(path, text)
    return report


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
