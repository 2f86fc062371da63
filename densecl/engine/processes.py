"""Several processes: joining them, taking turns, failing together.

The processes of a run must call the same collectives in the same order. A rank that stops on its
own leaves the others waiting for it, so whatever may fail on one rank alone (a missing folder on
one node, an unreadable picture, a full disk) runs inside ``together``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from densecl.distributed import gather_objects, greatest, is_distributed, local_rank, rank
from densecl.errors import UsageError

T = TypeVar("T")
ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(hours=1)
"""How long ranks wait for one that renders a data set or lists a folder of millions."""


class OtherRankError(RuntimeError):
    """Another process failed; its own message says why."""


class SharedUsageError(UsageError):
    """Bad input that every process reports at once, whichever met it."""


@contextmanager
def several_processes(program: str = "densecl") -> Iterator[None]:
    """Join the process group that a launcher such as torchrun describes in the environment.

    Without a launcher, and where a group is up already, nothing happens. Tensors of the CPU
    travel by gloo, those of CUDA by nccl.

    Args:
        program: the command, for the message.

    Raises:
        UsageError: the environment names several processes and is incomplete.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1" or dist.is_initialized():
        yield
        return
    missing = [name for name in ENVIRONMENT if name not in os.environ]
    if missing:
        raise UsageError(
            f"started as one of {count} processes (WORLD_SIZE), without {', '.join(missing)}",
            needed="the environment that torchrun sets",
            fix=f"torchrun --nproc-per-node {count} -m {program} pretrain ...; alone, unset "
            "WORLD_SIZE",
        )
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    yield
    # Not after an exception: nccl would wait here for ranks that will not come.
    dist.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """If the block fails on one rank, it fails on all; no collective may stand inside.

    A ``UsageError`` of any rank becomes a ``SharedUsageError`` of all, with its message; the rank
    with another error raises that, the others an ``OtherRankError``.
    """
    if not is_distributed():
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    if not greatest(int(failure is not None)):
        return
    reports = gather_objects(_report(failure))
    if failure is not None and not isinstance(failure, UsageError):
        raise failure
    number, report = next((n, r) for n, r in enumerate(reports) if r is not None)
    if isinstance(report, str):
        raise OtherRankError(f"rank {number} failed: {report}")
    given, needed, fix = report
    raise SharedUsageError(given, needed=needed, fix=fix) from failure


def _report(failure: Exception | None) -> str | tuple[str, str, str] | None:
    if isinstance(failure, UsageError):
        return failure.given, failure.needed, failure.fix
    return None if failure is None else f"{type(failure).__name__}: {failure}"


def in_turn(work: Callable[[], T]) -> T:
    """Do the same on every rank: first rank 0, then one rank of each other machine, then the rest.

    What the first makes for all (a cache of rendered frames) the others find, whether machines
    share the disk or not.
    """
    turn = 0 if rank() == 0 else 1 if local_rank() == 0 else 2
    done: list[T] = []
    for now in range(3) if is_distributed() else (turn,):
        with together():
            if now == turn:
                done.append(work())
    return done[0]


def launcher(program: str = "densecl") -> str:
    """How to type the command that this process belongs to: as it is, or by torchrun."""
    if not is_distributed():
        return program
    count = os.environ.get("LOCAL_WORLD_SIZE", str(dist.get_world_size()))
    return f"torchrun --nproc-per-node {count} -m {program}"
