"""Time and memory of InfoNCE against a bank: ours streamed, ours whole, a literal form, a loop.

    OMP_NUM_THREADS=1 python tools/benchmarks/losses.py [--queries 1568 12544] [--keys 4096 65536]

Forward and backward with respect to the queries (the bank is a queue). Forms alternate within one
run; the time is processor time, best of the repeats (other programs on the machine do not count).
Peak memory is what a fresh process needs beyond its inputs. Every form is compared with the
streamed one before it is timed. The loop is timed on a few queries and scaled. A form whose score
matrices would not fit --max-gib is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from densecl.losses import info_nce, normalise

TEMPERATURE = 0.2
LOOP_QUERIES = 32
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


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


FORMS: dict[str, Form] = {
    "streamed": lambda q, k, n: info_nce(q, k, n, temperature=TEMPERATURE),  # type: ignore[dict-item,return-value]
    "whole": lambda q, k, n: info_nce(q, k, n, temperature=TEMPERATURE, block=None),  # type: ignore[dict-item,return-value]
    "literal": literal,
    "loop": loop,
}
COPIES = {"streamed": 0, "whole": 3, "literal": 5, "loop": 0}
"""Rough number of (P, K) float32 matrices that a form holds at its peak."""


def inputs(queries: int, keys: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows: queries, keys, bank."""
    draw = torch.Generator().manual_seed(0)
    return tuple(normalise(torch.randn(n, dim, generator=draw)) for n in (queries, queries, keys))  # type: ignore[return-value]


def step(form: str, rows: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Loss and gradient of the queries; the loop works on the first few queries."""
    query, key, bank = rows
    if form == "loop":
        query, key = query[:LOOP_QUERIES], key[:LOOP_QUERIES]
    query = query.clone().requires_grad_()
    loss = FORMS[form](query, key, bank)
    loss.backward()
    assert query.grad is not None
    return loss.detach(), query.grad


def check(form: str, rows: tuple[Tensor, Tensor, Tensor]) -> float:
    """Largest relative difference of loss and gradient to the streamed form; raises above 1e-5."""
    if form == "streamed":
        return 0.0
    if form == "loop":
        rows = (rows[0][:LOOP_QUERIES], rows[1][:LOOP_QUERIES], rows[2])
    worst = 0.0
    for ours, other in zip(step("streamed", rows), step(form, rows), strict=True):
        worst = max(worst, float((ours - other).abs().max() / other.abs().max()))
    if worst > 1e-5:
        raise AssertionError(f"{form} differs from the streamed form by {worst:.1e}")
    return worst


def peak_mib(form: str, queries: int, keys: int, dim: int) -> float:
    """Growth of a fresh process's peak resident memory over one step."""
    command = [sys.executable, __file__, "--peak", form, str(queries), str(keys), str(dim)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def high_water_mib() -> float:
    """Peak resident memory of this process (Linux; getrusage would count the parent's too)."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def print_peak(form: str, queries: int, keys: int, dim: int) -> None:
    """The child of ``peak_mib``."""
    rows = inputs(queries, keys, dim)
    step(form, (rows[0][:8], rows[1][:8], rows[2][:8]))
    before = high_water_mib()
    step(form, rows)
    print(high_water_mib() - before)


def main() -> None:
    """Print one Markdown row per size and form."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--queries", type=int, nargs="+", default=[1568, 12544])
    parser.add_argument("--keys", type=int, nargs="+", default=[4096, 65536])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--max-gib", type=float, default=3.0)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print_peak(args.peak[0], *(int(n) for n in args.peak[1:]))
        return
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}, D = {args.dim}\n")
    print("| P | K | form | CPU time, ms | peak, MiB | difference |")
    print("|---|---|---|---|---|---|")
    for queries in args.queries:
        for keys in args.keys:
            rows = inputs(queries, keys, args.dim)
            gib = 4 * queries * keys / 2**30
            fits = [name for name in FORMS if COPIES[name] * gib <= args.max_gib]
            difference = {name: check(name, rows) for name in fits}
            best = dict.fromkeys(fits, float("inf"))
            for _ in range(args.repeats):
                for name in fits:
                    start = time.process_time()
                    step(name, rows)
                    best[name] = min(best[name], time.process_time() - start)
            for name in FORMS:
                if name not in fits:
                    print(f"| {queries} | {keys} | {name} | does not fit | - | - |")
                    continue
                scale = queries / LOOP_QUERIES if name == "loop" else 1
                mark = " (scaled)" if name == "loop" else ""
                peak = peak_mib(name, queries, keys, args.dim)
                print(
                    f"| {queries} | {keys} | {name} | {1e3 * scale * best[name]:.0f}{mark} "
                    f"| {peak:.0f} | {difference[name]:.0e} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
