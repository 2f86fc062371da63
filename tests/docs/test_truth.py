"""What the pages quote, list and count is what the code says."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from docs.pages import ROOT, blocks

import pointcl.cli
from densecl.cli import COMMANDS, main
from densecl.commands.doctor import advice
from densecl.engine.config import find_config, list_configs
from densecl.engine.hooks.health import HealthHook
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.schema import SECTIONS
from densecl.engine.step import StepReport

TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text()
SMOKE = "densecl_r18w32_1xb32-500s_streets-64px"
TINY = [
    "--cfg-options",
    "method.backbone.width=4",
    "views.size=32",
    "loader.num_workers=0",
    "log.tensorboard=False",
    "log.every=1",
    "health.every=1",
]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0)
    for k in range(8):
        cv2.imwrite(f"pictures/{k}.png", noise.integers(0, 255, (40, 50, 3), np.uint8))
    return tmp_path / "pictures"


def start(*more: str, run: str = "mine", data: str = "pictures") -> int:
    """Start, or try to, a run of smallest size."""
    options = [word for word in more if "=" in word]
    flags = [word for word in more if "=" not in word]
    where = ["--data", data, "--work-dir", f"work_dirs/{run}"]
    return main(["pretrain", SMOKE, *where, *flags, *TINY, *options])


def loose(text: str) -> str:
    """A message without the numbers and hashes that differ from run to run."""
    text = re.sub(r"'[0-9a-f]{32}'", "'#'", text)
    return re.sub(r"(?<![\w.])-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)(?!\w)", "#", text).strip()


def quoted(start: str) -> set[str]:
    """The messages that the page quotes, loosened."""
    found = [b.text for b in blocks(TROUBLES) if b.language == "text" and b.text.startswith(start)]
    return {loose(text) for text in found}


def test_quoted_errors_are_those_that_a_user_reads(pictures, capsys):
    shown: set[str] = set()

    def note(status: int, expected: int = 2) -> None:
        assert status == expected
        error = capsys.readouterr().err
        shown.add(loose(error[error.index("error: ") :]))

    small = ("--batch-size", "4")
    note(start())
    note(start(*small, "--resume", run="none"))
    assert start(*small, "--max-steps", "2") == 0
    capsys.readouterr()
    note(start(*small))
    note(start(*small, "--resume", "optim.lr=0.1"))
    note(start(*small, "optim.lrr=1", run="typo"))
    (pictures / "7.png").unlink()
    note(start(*small, "--resume"))
    wild = ("optim.lr=1e20", "optim.scaling=none", "schedule.warmup_steps=0")
    note(start(*small, *wild, run="wild"), 1)
    (pictures / "torn.png").write_bytes((pictures / "0.png").read_bytes()[:900])
    note(start("--batch-size", "8", run="torn"))
    (pictures.parent / "notes").mkdir()
    (pictures.parent / "notes" / "a.txt").write_text("no picture")
    note(start(*small, run="empty", data="notes"))
    assert quoted("error: ") == shown


def test_quoted_alarms_are_those_of_the_health_hook():
    limits = {k: SECTIONS["health"][k].default for k in ("min_std", "min_rank", "max_empty")}
    hook = HealthHook(every=1, **limits)
    sick = {"feature_std": 0.0127, "effective_rank": 1.9, "empty_fraction": 0.62}
    alarms = hook.alarms(StepReport(step=10, scalars=dict(sick), samples=1)).values()
    shown = {loose(f"health alarm at step 10: {message}") for message in alarms}
    lines = {line for text in quoted("health alarm") for line in text.splitlines()}
    assert lines == shown
    for name, value in limits.items():
        assert f"health.{name}" in TROUBLES
        word = {"min_std": "below", "min_rank": "below", "max_empty": "above"}[name]
        assert f"{word} {value:g}: alarm" in TROUBLES


@pytest.mark.parametrize(
    "name",
    [name for name in list_configs() if "streets-64px" in name],
)
def test_every_number_that_a_run_logs_is_explained(name, pictures):
    where = ["--data", "pictures", "--work-dir", "work_dirs/run", "--batch-size", "4"]
    extra = ["train.grad_clip=1.0"]
    assert main(["pretrain", name, *where, "--max-steps", "1", *TINY, *extra]) == 0
    folder = find_config(name).parent.name
    text = TROUBLES + (ROOT / "docs" / "methods" / f"{folder}.md").read_text()
    (line,) = read_scalars(pictures.parent / "work_dirs" / "run")
    assert not [scalar for scalar in line if scalar != "step" and f"`{scalar}`" not in text]


@pytest.mark.parametrize(
    ("program", "commands"), [("densecl", COMMANDS), ("pointcl", pointcl.cli.COMMANDS)]
)
def test_the_index_names_every_command(program, commands):
    index = (ROOT / "docs" / "index.md").read_text()
    rows = re.findall(rf"^\| `{program} (\w+)` \|", index, flags=re.MULTILINE)
    assert rows == list(commands)


def test_the_remedy_for_two_opencvs_is_what_doctor_prints():
    page = (ROOT / "docs" / "installation.md").read_text()
    two = {"opencv-python": "4", "opencv-python-headless": "4"}
    (line,) = advice(two, {"mmsegmentation": "1.2.2"})
    assert f"! {line}\n" in page


def test_pinned_versions_are_those_of_the_project():
    import tomllib

    page = (ROOT / "docs" / "installation.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = [r for r in [*project["dependencies"], *extras["seg"]] if "==" in r]
    for requirement in pinned:
        name, version = requirement.split("==")
        assert re.search(rf"{name}.*{re.escape(version)}", page), requirement
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))))
    assert set(extras) <= named
    assert f"Python {project['requires-python'].replace('>=', '≥ ')}" in page
