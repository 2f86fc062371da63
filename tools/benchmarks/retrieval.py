"""Time of dense retrieval: ours against the whole matrix, merged blocks and faiss, proven equal.

    OMP_NUM_THREADS=1 python tools/benchmarks/retrieval.py

Prints two Markdown tables: a bank in memory, and one of 10 million float16 rows mapped from a file,
which is written into --folder first (2.6 GB). faiss takes part where it is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import timing
import torch
from torch import Tensor
from torch.nn import functional as F

from densecl.transfer.retrieval.bank import MemoryRows, Rows
from densecl.transfer.retrieval.bank_file import open_bank, write_bank
from densecl.transfer.retrieval.search import top_k

K, CLASSES, PART = 30, 11, 100_000
GROUPS = 2000
"""Features gather around so many directions, and share a large common part, as a backbone's do."""


def centres(dim: int) -> Tensor:
    """(GROUPS, D)."""
    g = torch.Generator().manual_seed(0)
    return 2 * torch.randn(1, dim, generator=g) + torch.randn(GROUPS, dim, generator=g)


def parts(count: int, dim: int) -> Iterator[Tensor]:
    """Unit rows in float16, part by part."""
    around = centres(dim)
    for number, start in enumerate(range(0, count, PART)):
        g = torch.Generator().manual_seed(number + 1)
        size = min(PART, count - start)
        group = torch.randint(GROUPS, (size,), generator=g)
        rows = around[group] + 0.5 * torch.randn(size, dim, generator=g)
        yield F.normalize(rows, dim=1).half()


def queries(count: int, dim: int) -> Tensor:
    """Unit rows in float32."""
    g = torch.Generator().manual_seed(10**6)
    rows = centres(dim)[torch.randint(GROUPS, (count,), generator=g)]
    return F.normalize(rows + 0.5 * torch.randn(count, dim, generator=g), dim=1)


def ours(screen: str, asked: Tensor, rows: Rows) -> Tensor:
    """Scores (Q, K)."""
    return top_k(asked, rows, K, screen=screen).score  # type: ignore[arg-type]


def whole(asked: Tensor, rows: Rows) -> Tensor:
    """All scores at once, then the best of them."""
    return (asked @ rows.tensor.float().T).topk(min(K, rows.shape[0]), dim=1).values


def merged(asked: Tensor, rows: Rows, block: int = 16384) -> Tensor:
    """The best of each block, merged with the best so far."""
    best = asked.new_empty(len(asked), 0)
    for part in rows.tensor.split(block):
        scores = asked @ part.float().T
        both = torch.cat([best, scores.topk(min(K, len(part)), dim=1).values], dim=1)
        best = both.topk(min(K, both.shape[1]), dim=1).values
    return best


def by_faiss(asked: Tensor, rows: Rows) -> Tensor:
    """faiss' flat index; it holds the rows in float32."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows.tensor.float().numpy())
    return torch.from_numpy(index.search(asked.numpy(), min(K, rows.shape[0]))[0])


FORMS: dict[str, Callable[[Tensor, Rows], Tensor]] = {
    "ours": partial(ours, "auto"),
    "ours, float32 products": partial(ours, "off"),
    "merged blocks": merged,
    "whole matrix": whole,
    "faiss": by_faiss,
}


def have_faiss() -> bool:
    """Whether faiss is installed."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def in_memory(count: int, options: argparse.Namespace) -> list[list[object]]:
    """Lines of the first table."""
    rows = MemoryRows(torch.cat(list(parts(count, options.dim))))
    asked = queries(options.queries, options.dim)
    names = [name for name in FORMS if name != "faiss" or have_faiss()]
    spent = timing.alternate(
        {name: partial(FORMS[name], asked, rows) for name in names}, options.rounds
    )
    truth = whole(asked, rows)
    lines = []
    for name in names:
        apart = timing.equal(name, FORMS[name](asked, rows), truth)
        peak = timing.peak_mib(__file__, name, count, options.queries, options.dim)
        lines.append(
            [count, options.queries, name, spent[name].cpu, spent[name].wall, round(peak), apart]
        )
    return lines


def in_file(path: Path, options: argparse.Namespace) -> list[object]:
    """The line of the second table: the scores of some queries are checked against all products."""
    began = time.perf_counter()
    labels = torch.zeros(PART, CLASSES, dtype=torch.float16)
    write_bank(path, ((part, labels[: len(part)]) for part in parts(options.rows, options.dim)))
    written = time.perf_counter() - began
    rows = open_bank(path).features
    asked = queries(options.queries, options.dim)
    found: list[Tensor] = []
    spent = timing.alternate({"": lambda: found.append(ours("auto", asked, rows))}, 1, warm=False)[
        ""
    ]
    some = torch.linspace(0, len(asked) - 1, min(16, len(asked))).long()
    apart = timing.equal("file", found[0][some], merged(asked[some], rows))
    peak = timing.peak_mib(__file__, "file", path, options.queries, options.dim)
    size = f"{path.stat().st_size / 2**20:.0f}"
    times = [f"{seconds:.1f}" for seconds in (written, spent.cpu / 1e3, spent.wall / 1e3)]
    return [options.rows, options.queries, size, *times, round(peak), apart]


def peak(form: str, what: str, asked_count: str, dim: str) -> None:
    """The child of ``timing.peak_mib``."""
    asked = queries(int(asked_count), int(dim))
    rows: Rows
    if form == "file":
        rows, run = open_bank(what).features, FORMS["ours"]
    else:
        rows, run = MemoryRows(torch.cat(list(parts(int(what), int(dim))))), FORMS[form]
    few = MemoryRows(torch.cat(list(parts(2000, int(dim)))))
    timing.print_peak(partial(run, asked[:64], few), partial(run, asked, rows))


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[100_000, 300_000], help="in memory"
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the bank in a file")
    parser.add_argument("--queries", type=int, default=1024, help="cells of a picture")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--folder", default=None, help="for the file; default: the system's")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        torch.set_num_threads(1)
        peak(*options.peak)
        return
    timing.prepare(options)
    if options.quick:
        options.rows, options.queries, options.dim, options.sizes = 20_000, 40, 16, [9000]
    head = ["rows", "queries", "form", "CPU ms", "wall ms", "peak MiB", "difference"]
    lines = [line for size in options.sizes for line in in_memory(size, options)]
    timing.table(f"Exact {K} nearest of a float16 bank in memory, D = {options.dim}", head, lines)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        line = in_file(Path(folder) / "bank", options)
    head = ["rows", "queries", "file MiB", "write s", "CPU s", "wall s", "peak MiB", "difference"]
    timing.table(f"Exact {K} nearest of a float16 bank in a file, D = {options.dim}", head, [line])


if __name__ == "__main__":
    main()
