from __future__ import annotations

import re
from urllib.parse import unquote

from report.evaluations import HOSTILE, LONG

from densecl.report.markdown import fenced, safe


def outside_code(text):
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_tables_have_one_number_of_cells(written):
    lines = outside_code(written[2]).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 60
    widths = {}
    for number, line in enumerate(lines):
        if re.match(r"\|(-+:?\|)+$", line):
            for row in (lines[number - 1], *lines[number + 1 :]):
                if not row.startswith("|"):
                    break
                cells = re.split(r"(?<!\\)\|", row)[1:-1]
                widths.setdefault(number, set()).add(len(cells))
    assert len(widths) > 15
    assert all(len(found) == 1 for found in widths.values())


def test_names_are_escaped(written):
    text = outside_code(written[2])
    assert HOSTILE not in text
    assert safe(HOSTILE) in text
    assert safe("a_b _c_ *d* <e> [f] | `g` &lt; & h") == (
        r"a_b \_c\_ \*d\* \<e\> \[f\] \| \`g\` \&lt; & h"
    )
    assert safe("two\nlines") == "two lines"


def test_pictures_are_linked_by_their_place_in_the_folder(written):
    folder, _, text = written
    linked = [unquote(place) for place in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)]
    assert len(linked) == 4
    assert all((folder / place).is_file() for place in linked)


def test_it_says_what_the_page_says(written):
    text = written[2]
    for said in (
        "# Transfer evaluation of 3 rows",
        "**unfinished: 7 of 12 runs**",
        "**Not run yet.**",
        f"“{LONG}” (+0.080, +0.052 to +0.108) is better than scratch",
        "## Refused",
        "| retrieval_streets | 1 | done | 24 of 24 | test | `bf7c2a91b04de8e3` |",
        "densecl 0.1.0, torch 2.13.0, world 1",
    ):
        assert said in text, said


def test_code_cannot_end_its_fence():
    text = "a\n````\nb"
    first, *_, last, _ = fenced(text, "python")
    assert first == "`````python"
    assert last == "`````"
    assert list(fenced("a", "sh")) == ["```sh", "a", "```", ""]
