from __future__ import annotations

import itertools

import pytest
from report.evaluations import HOSTILE, LONG, edit, row, summary

from densecl.report import words
from densecl.report.reader import read_evaluation
from densecl.transfer.of_images import PICTURES
from pointcl.transfer.of_scans import SCANS


def first(folder, rows, **more):
    """The fine-tuning table at 5 % with these rows."""
    value = summary(rows, "scratch", **more)
    edit(folder / "fcn_streets/5pct/summary.json", lambda old: (old.clear(), old.update(value)))
    return read_evaluation(folder).protocols[0].results[0]


def test_a_finding_keeps_to_the_verdicts(folder):
    said = words.finding(read_evaluation(folder).protocols[0].results[0])
    assert said == (
        f"“{LONG}” (+0.080, +0.052 to +0.108) is better than scratch; {HOSTILE} (−0.030, −0.041 to"
        " −0.019) is worse than scratch; PixPro (+0.010, −0.600 to +0.620) is inconclusive against"
        " scratch. Better than scratch without the pretraining, too: scratch-long (+0.050)."
    )


@pytest.mark.parametrize("verdict", ["better", "worse", "inconclusive"])
def test_the_verdict_decides_and_not_the_sign(folder, verdict):
    rows = [row("scratch", 0.2), row("PixPro", 0.3, 0.1, (-0.1, 0.3), verdict)]
    said = words.finding(first(folder, rows))
    relation = {"inconclusive": "inconclusive against"}.get(verdict, f"{verdict} than")
    assert said == f"PixPro (+0.100, −0.100 to +0.300) is {relation} scratch."


def test_no_finding_claims_more_than_a_verdict(folder):
    evaluation = read_evaluation(folder)
    said = " ".join(words.finding(result) for result in evaluation.results)
    said += words.overview(evaluation) + " ".join(text for pair in words.READING for text in pair)
    for word in ("beat", "win", "outperform", "significant", "best", "superior", "improves"):
        assert word not in said.lower()


def test_controls_are_mentioned_whatever_came_out(folder):
    def control(name, verdict):
        return row(name, 0.2, 0.0, (-0.1, 0.1), verdict)

    rows = [row("scratch", 0.2), control("PixPro", "better")]
    for verdicts, said in (
        ((), ""),
        (("worse",), " The control is not better."),
        (("worse", "inconclusive"), " No control is better."),
        (("worse", "better"), " Better than scratch without the pretraining, too: c1 (0.000)."),
    ):
        controls = [control(f"c{k}", verdict) for k, verdict in enumerate(verdicts)]
        assert words.finding(first(folder, rows + controls)).endswith(
            f"is better than scratch.{said}"
        )


def test_tables_without_numbers_say_why(folder):
    said = {p.name: words.finding(p.results[0]) for p in read_evaluation(folder).protocols}
    assert said["propagation_davis"] == "Not run yet."
    assert said["probe_old"].startswith("Out of date")
    assert words.finding(first(folder, [])) == "No row has a finished run yet."
    assert words.finding(first(folder, [row("scratch", 0.2)])) == "No row to compare."


def test_unfinished_and_describing_tables_say_so(folder):
    said = {p.name: words.finding(p.results[0]) for p in read_evaluation(folder).protocols}
    assert said["prompts_streets"].startswith("Unfinished (7 of 12 runs): ")
    assert said["ranks_streets"] == (
        f"Effective rank describes and does not judge: random 4.2 and “{LONG}” 41.7."
    )
    assert "−0.30, −0.35 to −0.25) is better" in said["measures_streets"]


def test_the_overview_counts_tables_and_verdicts(folder):
    evaluation = read_evaluation(folder)
    said = words.overview(evaluation)
    assert said.endswith(
        "were compared with scratch and random in 7 tables of 5 protocols. Of 16 comparisons: 6"
        " better, 4 worse and 6 inconclusive."
    )
    verdicts = [
        score.verdict
        for result in evaluation.results
        for score in result.scores
        if result.state in ("done", "unfinished") and score.name in evaluation.compared
    ]
    judged = [v for v in verdicts if v]
    assert (len(judged), judged.count("better"), judged.count("worse")) == (16, 6, 4)


def test_an_evaluation_in_which_nothing_is_done_says_so(folder):
    for path in folder.rglob("summary.json"):
        path.unlink()
    evaluation = read_evaluation(folder)
    assert words.overview(evaluation).endswith("were to be compared; no run is done yet.")
    assert "unfinished: 9 of 9 tables not complete" in words.marks(evaluation)


def test_marks_name_what_a_reader_must_know_first(folder):
    marks = words.marks(read_evaluation(folder))
    assert marks == [
        f"{words.DEMO} (1 table)",
        "unfinished: 2 of 9 tables not complete",
        "out of date: 1 of 9 tables",
        "refused: caffe <net>",
    ]


def test_a_title_holds_names_as_long_as_they_are_short(folder):
    evaluation = read_evaluation(folder)
    assert words.title_of(evaluation) == "Transfer evaluation of 3 rows"
    evaluation.rows = [{"name": "DenseCL"}, {"name": "PixPro"}]
    assert words.title_of(evaluation) == "Transfer evaluation of DenseCL and PixPro"


def test_names_that_would_run_into_a_sentence_are_quoted():
    assert [words.quoted(name) for name in ("PixPro", "MoCo v2, ours", "a and b", "android")] == [
        "PixPro", "“MoCo v2, ours”", "“a and b”", "android",
    ]  # fmt: skip


def test_notes_say_the_split_reads_edge_and_divergence(folder):
    notes = words.table_notes(read_evaluation(folder).protocols[0].results[0])
    assert "* the choice lies at the edge of the grid." in notes
    assert "The test split was read once." in notes
    assert f"{HOSTILE}: 1 run diverged (scored as failed)." in notes
    assert f"scratch-long: with the compute of {LONG} added." in notes
    assert "World version 1." in notes


def test_lists_and_times_are_written_out():
    assert [words.listed(list("abc"[:k])) for k in range(4)] == ["", "a", "a and b", "a, b and c"]
    times = (12, 89.4, 90, 240, 7500)
    said = ["12 s", "89 s", "2 min", "4 min", "2 h 5 min"]
    assert [words.duration(t) for t in times] == said
    assert words.sentence("position leak") == "Position leak"
    assert words.sentence("mIoU of each") == "mIoU of each"


def test_every_run_of_the_protocols_has_words():
    assert set(words.RUNS) == {*PICTURES.runs, *SCANS.runs}
    titles = [title for title, _ in words.RUNS.values()]
    assert not [pair for pair in itertools.combinations(titles, 2) if pair[0] == pair[1]]
    assert words.run_title("my_run") == "My run"
