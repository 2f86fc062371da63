"""What a report says in words: findings that keep to the verdicts, and how to read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from densecl.report.number import Number
from densecl.report.record import (
    COMPARED,
    CONTROL,
    MISSING,
    REFERENCE,
    STALE,
    UNFINISHED,
    Evaluation,
    Result,
    Score,
    counted,
)

LONGEST = 48
"""Letters of row names that a heading holds."""

DEMO = "demo: far too small to rank anything; it shows that the path works"

RUNS = {
    "finetune": (
        "Fine-tuning",
        "A head is put on the backbone, and both are trained on the labels of the share.",
    ),
    "probe": (
        "Linear probe",
        "The backbone stays frozen; one linear map of its features is fitted to the labels.",
    ),
    "retrieval": (
        "Dense nearest neighbours",
        "The backbone stays frozen; each cell of a picture takes the labels of the most similar"
        " cells of labelled pictures. Nothing is trained.",
    ),
    "overclustering": (
        "Clustering",
        "Cells of frozen features are clustered without labels; labels serve only to name the"
        " clusters afterwards.",
    ),
    "prompts": (
        "Prompt points",
        "The feature at one point of an object is compared with every other cell of the picture:"
        " does the similarity map outline the object?",
    ),
    "propagation": (
        "Video label propagation",
        "The masks of a video's first frame are carried through it by the similarity of frozen"
        " features.",
    ),
    "correspondence": (
        "Correspondence",
        "For cells or points with a known counterpart in another view, frame or scan: how often is"
        " the most similar one the right one?",
    ),
    "image_correspondence": (
        "Correspondence with a picture",
        "Features of points are mapped linearly into the space of a picture network: how often is"
        " the most similar cell the one that shows the point?",
    ),
    "measures": (
        "Measures of the representation",
        "Properties of the frozen features themselves. Most of them describe and do not judge.",
    ),
    "detection": (
        "Detection",
        "A detector is put on the backbone, and both are trained on the boxes of the share.",
    ),
}
"""Run -> (title, what is done)."""


def run_title(run: str) -> str:
    """In words; the run's own name where there are none."""
    return RUNS[run][0] if run in RUNS else run.replace("_", " ").replace("-", " ").capitalize()


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def quoted(name: str) -> str:
    """A row's name within a sentence: in quotes where it would run into the words around it."""
    return f"“{name}”" if "," in name or " and " in name else name


def sentence(text: str) -> str:
    """With a capital, where the word is not written in mixed case as mIoU is."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.islower() else text


def title_of(evaluation: Evaluation) -> str:
    """Of the report."""
    names = evaluation.compared
    if not names:
        return "Transfer evaluation"
    named = listed([quoted(name) for name in names])
    return f"Transfer evaluation of {named if len(named) <= LONGEST else counted(names, 'row')}"


def overview(evaluation: Evaluation) -> str:
    """What was compared, and how many of the comparisons came out how."""
    shown = [result for result in evaluation.results if result.shown]
    verdicts = [s.verdict for r in shown if r.judged for s in r.of_kind(COMPARED)]
    references = list(dict.fromkeys(result.reference for result in shown))
    names = evaluation.compared
    who = listed([quoted(name) for name in names])
    verb = "was" if len(names) == 1 else "were"
    if not shown:
        return f"{who or 'Nothing'} {verb if who else 'was'} to be compared; no run is done yet."
    tables = (
        counted(shown, "table") + " of " + counted({r.protocol_hash for r in shown}, "protocol")
    )
    text = f"{who} {verb} compared with {listed(references)} in {tables}."
    if verdicts:
        count = Counter(verdicts)
        parts = [f"{count[word]} {word}" for word in ("better", "worse", "inconclusive")]
        text += f" Of {counted(verdicts, 'comparison')}: {listed(parts)}."
    return text


def marks(evaluation: Evaluation) -> list[str]:
    """What must be known before any number is read."""
    found = []
    demos = [result for result in evaluation.results if result.shown and result.demo]
    if demos:
        some = "" if len(demos) == len(evaluation.results) else f" ({counted(demos, 'table')})"
        found.append(DEMO + some)
    states = Counter(result.state for result in evaluation.results)
    open_tables = states[UNFINISHED] + states[MISSING]
    if open_tables:
        total = counted(evaluation.results, "table")
        found.append(f"unfinished: {open_tables} of {total} not complete")
    if states[STALE]:
        found.append(f"out of date: {states[STALE]} of {counted(evaluation.results, 'table')}")
    if evaluation.refused:
        names = listed([quoted(name) for name, _ in evaluation.refused])
        count = counted(evaluation.refused, "entry")
        found.append(f"refused: {names if len(names) <= LONGEST else count}")
    return found


def table_marks(result: Result) -> list[str]:
    """What must be known before a table's numbers are read."""
    found = [DEMO] if result.demo else []
    if result.state == UNFINISHED:
        done, total = result.cells
        found.append(f"unfinished: {done} of {total} runs")
    if not result.shown:
        found.append(finding(result))
    return found


def finding(result: Result) -> str:
    """One sentence on a table, in the words of its verdicts."""
    if result.state == MISSING:
        return "Not run yet."
    if result.state == STALE:
        return (
            "Out of date: its files were made by another protocol than the record names. Not shown."
        )
    if not result.scores:
        return "No row has a finished run yet."
    if not result.judged:
        every = [f"{quoted(score.name)} {_mean(score, result)}" for score in result.scores]
        return sentence(f"{result.main.title} describes and does not judge: {listed(every)}.")
    parts = [
        _clause(result, word, [s for s in result.of_kind(COMPARED) if s.verdict == word])
        for word in ("better", "worse", "inconclusive")
    ]
    text = "; ".join(filter(None, parts)) or "No row to compare"
    prefix = ""
    if result.state == UNFINISHED:
        done, total = result.cells
        prefix = f"Unfinished ({done} of {total} runs): "
    return f"{prefix}{text}.{controls_said(result)}"


def _clause(result: Result, word: str, scores: Sequence[Score]) -> str:
    if not scores:
        return ""
    named = listed([f"{quoted(score.name)} ({said_difference(score, result)})" for score in scores])
    verb = "is" if len(scores) == 1 else "are"
    relation = {"better": "better than", "worse": "worse than"}.get(word, "inconclusive against")
    return f"{named} {verb} {relation} {result.reference}"


def said_difference(score: Score, result: Result) -> str:
    """The difference with its interval, as "+0.051, +0.021 to +0.081"."""
    difference = difference_of(score, result)
    ends = interval_of(score, result)
    if ends is not None:
        return f"{difference}, {ends[0]} to {ends[1]}"
    return f"{difference}, no interval" if difference.known else "no common run"


def controls_said(result: Result) -> str:
    """Whether controls are better too; "" without controls."""
    controls = result.of_kind(CONTROL)
    if not controls:
        return ""
    better = [
        f"{quoted(s.name)} ({difference_of(s, result)})" for s in controls if s.verdict == "better"
    ]
    if better:
        return f" Better than {result.reference} without the pretraining, too: {listed(better)}."
    return " No control is better." if len(controls) > 1 else " The control is not better."


def _mean(score: Score, result: Result) -> Number:
    return result.number(score.means[result.main.key])


def difference_of(score: Score, result: Result) -> Number:
    """To the reference."""
    return result.number(score.difference, signed=True)


def interval_of(score: Score, result: Result) -> tuple[Number, Number] | None:
    """Of the difference."""
    if score.interval is None or score.kind == REFERENCE:
        return None
    low, high = (result.number(end, signed=True) for end in score.interval)
    return low, high


def table_notes(result: Result) -> list[str]:
    """What one needs to judge a table's numbers."""
    data, main = result.data, result.main
    lines = [sentence(f"{main.title} on the {data.get('split', 'validation')} split")]
    if result.judged:
        unit = "pretraining seed" if result.share == "all" else "pretraining seed, label subset"
        lines[0] += (
            f"; differences are paired over ({unit}), the {result.level} interval is Student's t"
            " over the pairs"
        )
    lines[0] += "."
    if main.better == "lower":
        lines.append(f"Lower {main.title} is better.")
    if any(score.data.get("lr_at_edge") for score in result.scores):
        lines.append("* the choice lies at the edge of the grid.")
    reads = int(data.get("test_reads") or 0)
    if data.get("split") == "test":
        lines.append("The test split was read " + ("once." if reads == 1 else f"{reads} times."))
    diverged = {s.name: int(s.data.get("diverged") or 0) for s in result.scores}
    for name, count in diverged.items():
        if count:
            lines.append(f"{name}: {counted(range(count), 'run')} diverged (scored as failed).")
    noted = [f"{s.name}: {s.data['notes']}." for s in result.scores if s.data.get("notes")]
    lines += [note.replace("..", ".") for note in noted]
    if data.get("world_version"):
        lines.append(f"World version {data['world_version']}.")
    spent = sum(float(s.data.get("seconds") or 0.0) for s in result.scores)
    if spent:
        lines.append(f"Its runs took {duration(spent)}.")
    return lines


def duration(seconds: float) -> str:
    """Such as "12 s", "4 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


READING: tuple[tuple[str, str], ...] = (
    (
        "better, worse, inconclusive",
        "The verdict on a row's difference to the reference. Better or worse: the whole interval"
        " lies on one side of zero. Inconclusive: zero lies within it, or there is one run only;"
        " it does not mean that the rows are equal.",
    ),
    (
        "interval",
        "Where the mean difference may lie, given how much single runs differ: Student's t over"
        " the pairs. In a chart it is the thin line with a cap at each end; an arrow says that it"
        " goes on beyond the axis. Among twenty comparisons between equals, about one comes out"
        " better or worse by chance at 95 %: many tables with a single better are no finding.",
    ),
    (
        "pair",
        "One pretraining seed with one subset of the labels. Row and reference are run on the same"
        " pairs and compared pair by pair. Pairs that share a seed or a subset are not quite"
        " independent, so the interval is somewhat too narrow.",
    ),
    (
        "reference",
        "The row that differences are taken to: scratch (trained from random weights) where the"
        " backbone is fine-tuned, random (never trained) where it stays frozen.",
    ),
    (
        "control",
        "A row that has no pretraining but something else a pretraining brings: more compute"
        " (scratch-long), batch-norm statistics of the data (random, batch norm re-estimated), the"
        " size of its weights (permuted). What a control gains, a method cannot claim.",
    ),
    (
        "protocol",
        "Data, split, resolution, settings, matching rule. Its hash stands with every number;"
        " numbers of different hashes are not comparable and never stand in one column.",
    ),
    (
        "demo, unfinished, out of date",
        "Demo: too small to rank anything. Unfinished: runs are missing and means will move."
        " Out of date: the files were made by another protocol than the record names, so their"
        " numbers are left out.",
    ),
    (
        "a dash",
        "No value: a class that does not occur, a row without a finished run.",
    ),
)
"""(term, what it means)."""
