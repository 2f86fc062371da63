"""A pretraining run, from config to last checkpoint."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densecl.distributed import gather_objects, rank
from densecl.engine.build import build_labelled, build_parts
from densecl.engine.checkpoint import load_checkpoint, newest_valid
from densecl.engine.config import config_text, default_work_dir, load_config, plain_config
from densecl.engine.device import settle, threads
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.hooks.checkpoint import CheckpointHook
from densecl.engine.hooks.health import HealthHook
from densecl.engine.hooks.probe import ProbeHook, Rows
from densecl.engine.hooks.progress import ProgressHook, Silence
from densecl.engine.hooks.scalars import ScalarsHook
from densecl.engine.hooks.tensorboard import TensorBoardHook
from densecl.engine.processes import launcher, several_processes, together
from densecl.engine.quiet_runner import PretrainRunner
from densecl.engine.resume import check_same_run
from densecl.engine.rng import seed_everything, seed_of_rank
from densecl.engine.step import NonFiniteLossError
from densecl.engine.stop import StopRequest
from densecl.errors import UsageError
from densecl.files import write_atomically

CONFIG = "config.py"


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        work_dir: where everything lies.
        checkpoint: the newest checkpoint, or None if no step was ever made.
        steps: steps of the schedule finished, those before a resume included.
        seconds: wall-clock time of this call.
        reason: ``finished``, ``max_steps``, ``max_minutes`` or ``interrupted``.
    """

    work_dir: Path
    checkpoint: Path | None
    steps: int
    seconds: float
    reason: str


def build_runner(
    config: Config,
    work_dir: Path,
    *,
    domain: Domain = IMAGES,
    snapshot: Mapping[str, Any] | None = None,
    resumed: Path | None = None,
    stop: StopRequest | None = None,
) -> PretrainRunner:
    """Build everything a run needs.

    Of several processes only rank 0 measures, prints and writes.

    Args:
        config: from ``load_config``.
        work_dir: created if absent.
        domain: what the run trains on.
        snapshot: content of the checkpoint to continue, or None.
        resumed: the file it came from.
        stop: when to stop early.

    Raises:
        UsageError: from a part, or because the checkpoint belongs to another config.
    """
    start = snapshot["step"] if snapshot else 0
    parts = build_parts(config, domain=domain, start_step=start)
    hashes = gather_objects(parts.data_hash)
    with together():
        _check_same_data(hashes)
        if snapshot is not None:
            check_same_run(snapshot, config, parts.data_hash, domain)
        hooks: list = [
            CheckpointHook(config["checkpoint"]["every"], config["checkpoint"]["keep"], resumed)
        ]
        if rank() == 0:
            hooks += _reporting_hooks(config, domain)
            # Only now: a run that is refused leaves no trace.
            work_dir.mkdir(parents=True, exist_ok=True)
    progress = ProgressHook() if rank() == 0 else Silence()
    runner = PretrainRunner(parts, work_dir, stop or StopRequest(), progress, hooks)
    if snapshot is not None:
        runner.continue_from(snapshot)
    # Whatever drew numbers while building (probe data, hooks) does not shift those of training.
    seed_everything(seed_of_rank(config["seed"], rank()))
    return runner


def _reporting_hooks(config: Config, domain: Domain) -> list:
    """What looks at a run and writes down what it sees."""
    log, health, probe = config["log"], config["health"], config.get("probe")
    hooks: list = [
        HealthHook(health["every"], health["min_std"], health["min_rank"], health["max_empty"]),
        ScalarsHook(log["every"]),
    ]
    if log["tensorboard"]:
        hooks.append(TensorBoardHook(log["every"]))
    if probe and probe["every"]:
        plain = plain_config(config)

        def rows(part: str) -> Rows:
            dataset = build_labelled(config, part, domain)
            return lambda model: domain.probe_rows(model, dataset, part, plain)

        hooks.append(ProbeHook(probe["every"], rows("data"), rows("val"), ridge=probe["ridge"]))
    return hooks


def _check_same_data(hashes: list[str]) -> None:
    odd = [number for number, found in enumerate(hashes) if found != hashes[0]]
    if odd:
        raise UsageError(
            f"rank {odd[0]} reads other data than rank 0: fingerprints {hashes[odd[0]]!r} and "
            f"{hashes[0]!r}",
            needed="the same files on every machine",
        )


def pretrain(
    config: Config | str | os.PathLike[str] | Mapping[str, Any],
    *,
    work_dir: str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    domain: Domain = IMAGES,
) -> RunResult:
    """Pretrain, from the start or from a checkpoint, to the end or to a stop.

    Under a launcher such as torchrun this is called by every process; together they make steps of
    as many batches as there are processes. All return the same.

    Args:
        config: a config, its path or its name; checked again.
        work_dir: where to write; by default the config's ``work_dir``.
        resume: False = start, refuse a work dir that holds a run; True = continue its newest
            checkpoint, refuse if there is none; ``"auto"`` = continue if there is one, else
            start; a path = continue that checkpoint.
        max_steps: stop after this step, the schedule being that of the whole run.
        max_minutes: stop at the first step boundary after this time; overrides the config.
        domain: what it trains on: pictures, or ``pointcl.engine.domain.POINTS``.

    Raises:
        UsageError: anything wrong with config, data, work dir or checkpoint.
        NonFiniteLossError: the loss became NaN; earlier checkpoints are kept.
    """
    with several_processes(domain.program):
        return _pretrain(config, work_dir, resume, max_steps, max_minutes, domain)


def _pretrain(
    config: Config | str | os.PathLike[str] | Mapping[str, Any],
    work_dir: str | os.PathLike[str] | None,
    resume: bool | str | os.PathLike[str],
    max_steps: int | None,
    max_minutes: float | None,
    domain: Domain,
) -> RunResult:
    began = time.monotonic()
    with together():
        config = settle(load_config(config, domain=domain))
        folder = Path(work_dir) if work_dir is not None else default_work_dir(config)
    resumed, snapshot = _find_checkpoint(folder, resume)
    limit = config["train"]["max_minutes"] if max_minutes is None else max_minutes
    stop = StopRequest(limit, max_steps)
    with threads(config["train"]["threads"], config["loader"]["num_workers"]), stop.listening():
        runner = build_runner(
            config, folder, domain=domain, snapshot=snapshot, resumed=resumed, stop=stop
        )
        saver = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
        if rank() == 0:
            write_atomically(folder / CONFIG, lambda p: p.write_text(config_text(config)))
        try:
            runner.train()
        except NonFiniteLossError as error:
            raise NonFiniteLossError(_what_is_left(error, saver.latest)) from error
        finally:
            runner.close()
    finished = runner.iter >= runner.max_iters
    reason = "finished" if finished else str(stop.reason)
    result = RunResult(folder, saver.latest, runner.iter, time.monotonic() - began, reason)
    every = gather_objects(list(getattr(runner.parts.dataset, "skipped", ())))
    skipped = list(dict.fromkeys(name for names in every for name in names))
    if rank() == 0:
        print(_last_words(result, runner.max_iters, domain.program), file=sys.stderr)
        if skipped:
            print(f"skipped {len(skipped)} unreadable: {', '.join(skipped[:10])}", file=sys.stderr)
    return result


def _find_checkpoint(
    folder: Path, resume: bool | str | os.PathLike[str]
) -> tuple[Path | None, dict[str, Any] | None]:
    """What rank 0 finds, read by every rank."""
    path, snapshot = None, None
    with together():
        if rank() == 0:
            path, snapshot = _look_for_checkpoint(folder, resume)
    path = gather_objects(path)[0]
    with together():
        if path is not None and snapshot is None:
            snapshot = load_checkpoint(path)
    return path, snapshot


def _look_for_checkpoint(
    folder: Path, resume: bool | str | os.PathLike[str]
) -> tuple[Path | None, dict[str, Any] | None]:
    if not isinstance(resume, bool) and resume != "auto":
        path = Path(resume)
        return path, load_checkpoint(path)
    found = newest_valid(folder, warn=lambda text: print(text, file=sys.stderr))
    if resume is False and found is not None:
        raise UsageError(
            f"{folder} already holds a run, with {found[0].name}",
            fix="continue it with --resume, or choose another --work-dir",
        )
    if resume is True and found is None:
        raise UsageError(f"nothing to resume: no checkpoint in {folder}", fix="drop --resume")
    return found or (None, None)


def resume_command(folder: Path, program: str = "densecl") -> str:
    """What to type to continue a run; its dumped config holds all overrides."""
    where = shlex.quote(str(folder))
    config = shlex.quote(str(folder / CONFIG))
    return f"{launcher(program)} pretrain {config} --work-dir {where} --resume"


def _what_is_left(error: Exception, checkpoint: Path | None) -> str:
    kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint yet"
    return (
        f"{error}\n  {kept}\n  to fix: lower optim.lr, set train.grad_clip=1.0, lengthen "
        "schedule.warmup_steps, or set train.amp=off; then start again"
    )


def _last_words(result: RunResult, steps: int, program: str) -> str:
    done = f"{result.reason}: {result.steps}/{steps} steps in {result.seconds:.1f} s"
    saved = f"checkpoint: {result.checkpoint}"
    if result.reason == "finished":
        return f"{done}\n{saved}"
    return f"{done}\n{saved}\nresume with: {resume_command(result.work_dir, program)}"
