from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from report.evaluations import edit, write_evaluation

import densecl.report
from densecl.cli import main
from densecl.report import write


def test_the_same_evaluation_gives_the_same_bytes(tmp_path, written):
    _, html, markdown = written
    report = write(write_evaluation(tmp_path / "elsewhere"))
    assert report.html.read_text(encoding="utf-8") == html
    assert report.markdown.read_text(encoding="utf-8") == markdown
    again = write(tmp_path / "elsewhere")
    assert again == report
    assert again.html.read_text(encoding="utf-8") == html


def test_a_report_is_written_beside_its_evaluation_and_leaves_nothing_else(folder):
    before = set(folder.rglob("*"))
    report = write(str(folder))
    assert set(folder.rglob("*")) - before == {report.html, report.markdown}
    assert report.html.name == densecl.report.HTML
    assert report.markdown.name == densecl.report.MARKDOWN


def test_a_refused_evaluation_leaves_the_old_report(folder):
    report = write(folder)
    old = report.html.read_bytes()
    edit(folder / "evaluation.json", lambda value: value["protocols"][0].update(hash=""))
    assert main(["report", str(folder)]) == 2
    assert report.html.read_bytes() == old


def test_the_command_says_where_the_report_lies(folder, capsys):
    assert main(["report", str(folder)]) == 0
    out = capsys.readouterr().out
    assert str(folder / "report.html") in out
    assert str(folder / "report.md") in out


def test_the_command_names_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "evaluation.json is not there" in error
    assert "densecl evaluate" in error


def test_the_files_of_the_page_belong_to_the_package():
    folder = Path(densecl.report.__file__).parent
    setup = (folder.parents[1] / "setup.py").read_text()
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".py":
            assert f'"report/{path.name}"' in setup


def test_a_report_needs_no_torch():
    code = "import sys, densecl.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
