"""Time and memory of InfoNCE: streamed (ours) beside forms that hold all scores, and a loop.

    OMP_NUM_THREADS=1 python tools/benchmarks/losses.py

Two tables, forward and backward: against a bank, where only the queries have a gradient (a queue),
and within a batch, where both sides have one: each row is the positive of one and a negative of
all others. Peak memory is what a fresh process needs beyond its inputs. Every form is compared
with the streamed one, loss and gradients, before it is timed. The loop is timed on a few queries
and scaled. A form whose scores would not fit --max-gib is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import timing
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from densecl.losses import info_nce, normalise, pair_info_nce
from densecl.pairs import Pairs

TEMPERATURE = 0.2
LOOP_QUERIES = 32
ROWS = 1024
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def streamed(query: Tensor, key: Tensor, bank: Tensor) -> Tensor:
    """Ours against a bank."""
    return info_nce(query, key, bank, temperature=TEMPERATURE)  # type: ignore[return-value]


def whole(query: Tensor, key: Tensor, bank: Tensor) -> Tensor:
    """Ours with plain autograd on all scores at once."""
    return info_nce(query, key, bank, temperature=TEMPERATURE, block=None)  # type: ignore[return-value]


def literal(query: Tensor, key: Tensor, bank: Tensor) -> Tensor:
    """Concatenate the logits and take the cross-entropy with class 0."""
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ bank.T], 1) / TEMPERATURE
    return F.cross_entropy(logits, logits.new_zeros(len(query), dtype=torch.int64))


def loop(query: Tensor, key: Tensor, bank: Tensor) -> Tensor:
    """One query at a time."""
    losses = []
    for q, k in zip(query, key, strict=True):
        logits = torch.cat([(q @ k)[None], bank @ q]) / TEMPERATURE
        losses.append(torch.logsumexp(logits, 0) - logits[0])
    return torch.stack(losses).mean()


def streamed_batch(query: Tensor, key: Tensor, _: Tensor) -> Tensor:
    """Ours within a batch: the pairs, and all other keys as negatives."""
    pairs = Pairs.identity(len(query))
    return pair_info_nce(query, key, pairs, temperature=TEMPERATURE)  # type: ignore[return-value]


def literal_batch(query: Tensor, key: Tensor, _: Tensor) -> Tensor:
    """All scores; the diagonal is the class."""
    return F.cross_entropy(query @ key.T / TEMPERATURE, torch.arange(len(query)))


def rows_batch(query: Tensor, key: Tensor, _: Tensor) -> Tensor:
    """The same for blocks of queries, each computed again in the backward pass."""

    def part(block: Tensor, first: int) -> Tensor:
        target = torch.arange(first, first + len(block))
        return F.cross_entropy(block @ key.T / TEMPERATURE, target, reduction="sum")

    blocks = [(query[i : i + ROWS], i) for i in range(0, len(query), ROWS)]
    sums = [checkpoint(part, *block, use_reentrant=False) for block in blocks]
    return torch.stack(sums).sum() / len(query)


BANK: dict[str, Form] = {"streamed": streamed, "whole": whole, "literal": literal, "loop": loop}
BATCH: dict[str, Form] = {
    "streamed": streamed_batch,
    "literal": literal_batch,
    "row blocks, checkpointed": rows_batch,
}
COPIES = {"whole": 3, "literal": 5}
"""Rough number of score matrices that a form holds at its peak."""


def inputs(batch: bool, queries: int, keys: int, dim: int) -> list[Tensor]:
    """Unit rows: queries, keys, bank (empty within a batch)."""
    draw = torch.Generator().manual_seed(0)
    counts = (queries, queries, 0 if batch else keys)
    return [normalise(torch.randn(n, dim, generator=draw)) for n in counts]


def step(batch: bool, form: str, rows: list[Tensor]) -> list[Tensor]:
    """Loss and the gradients asked for; the loop works on the first few queries."""
    query, key, bank = rows
    if form == "loop":
        query, key = query[:LOOP_QUERIES], key[:LOOP_QUERIES]
    leaves = [query.clone().requires_grad_()]
    if batch:
        key = key.clone().requires_grad_()
        leaves.append(key)
    loss = (BATCH if batch else BANK)[form](leaves[0], key, bank)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def checked(batch: bool, form: str, rows: list[Tensor]) -> str:
    """Largest relative difference to the streamed form; it must be below 1e-5."""
    if form == "loop":
        rows = [rows[0][:LOOP_QUERIES], rows[1][:LOOP_QUERIES], rows[2]]
    return timing.equal(form, step(batch, "streamed", rows), step(batch, form, rows))


def compare(batch: bool, queries: int, keys: int, options: argparse.Namespace) -> list[list]:
    """One row per form at one size."""
    rows = inputs(batch, queries, keys, options.dim)
    gib = 4 * queries * keys / 2**30
    forms = [
        name for name in (BATCH if batch else BANK) if COPIES.get(name, 0) * gib <= options.max_gib
    ]
    apart = {name: "-" if name == "streamed" else checked(batch, name, rows) for name in forms}
    # large sizes are slow and steady: fewer rounds, and the check above has warmed them
    rounds = options.rounds if gib < 0.5 else 3 if gib < 2 else 1
    run = {name: lambda name=name: step(batch, name, rows) for name in forms}
    spent = timing.alternate(run, rounds, warm=False)
    lines = []
    for name in BATCH if batch else BANK:
        size = [queries, queries if batch else keys, name]
        if name not in forms:
            lines.append([*size, "does not fit", "-", "-", "-"])
            continue
        scale = queries / LOOP_QUERIES if name == "loop" else 1.0
        peak = timing.peak_mib(__file__, int(batch), name, queries, keys, options.dim)
        mark = "loop, scaled" if name == "loop" else name
        cpu, wall = spent[name].cpu * scale, spent[name].wall * scale
        lines.append([*size[:2], mark, cpu, wall, round(peak), apart[name]])
    return lines


def peak(batch: str, form: str, *size: str) -> None:
    """The child of ``timing.peak_mib``."""
    queries, keys, dim = map(int, size)
    small = inputs(bool(int(batch)), 64, 64, dim)
    rows = inputs(bool(int(batch)), queries, keys, dim)
    timing.print_peak(
        lambda: step(bool(int(batch)), form, small), lambda: step(bool(int(batch)), form, rows)
    )


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--bank", nargs="+", default=["1568x65536", "12544x4096", "12544x65536"])
    parser.add_argument("--batch", type=int, nargs="+", default=[8192, 16384, 32768])
    parser.add_argument(
        "--largest", type=int, default=65536, help="streamed, within a batch; 0: no"
    )
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--max-gib", type=float, default=6.0)
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        torch.set_num_threads(1)
        peak(*options.peak)
        return
    timing.prepare(options)
    if options.quick:
        options.bank, options.batch, options.largest = ["40x64"], [48], 0
    head = ["P", "K", "form", "CPU ms", "wall ms", "peak MiB", "difference"]
    title = f"InfoNCE, D = {options.dim}, forward and backward:"
    sizes = [tuple(map(int, size.split("x"))) for size in options.bank]
    bank = [row for p, k in sizes for row in compare(False, p, k, options)]
    timing.table(f"{title} against a bank, gradient of the queries", head, bank)
    batch = [row for size in options.batch for row in compare(True, size, size, options)]
    if options.largest:
        rows = inputs(True, options.largest, 0, options.dim)
        spent = timing.alternate({"": lambda: step(True, "streamed", rows)}, 1, warm=False)[""]
        peak_mib = timing.peak_mib(__file__, 1, "streamed", options.largest, 0, options.dim)
        size = [options.largest, options.largest, "streamed"]
        batch.append([*size, spent.cpu, spent.wall, round(peak_mib), "-"])
    timing.table(f"{title} within a batch, gradient of both sides", head, batch)


if __name__ == "__main__":
    main()
