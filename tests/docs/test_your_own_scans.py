"""Does what the page says, on eight small clouds."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from docs.pages import ROOT, blocks, command_lines, words

from densecl.engine.hooks.scalars import read_scalars
from pointcl.cli import main

PAGE = (ROOT / "docs" / "your_own_scans.md").read_text()
METHOD = (ROOT / "docs" / "methods" / "pointcontrast.md").read_text()
TRIAL = next(b.text.split() for b in blocks(PAGE) if b.text.startswith("--max-steps"))
TRANSFER_TRIAL = re.search(r"add `(--controls --cfg-options [^`]+)`", PAGE)
COMMANDS = [line for b in blocks(PAGE) if b.language == "sh" for line in command_lines(b)]
OUTPUTS = {
    "draw": ["work_dirs/look/clouds.png", "work_dirs/look/clouds.html"],
    "pairs": ["work_dirs/look/pairs.png"],
    "pretrain": [f"work_dirs/{run}/last.pth" for run in ("mine", "turned", "from_mixed")],
    "curves": ["work_dirs/mine/curves.png"],
    "export": ["work_dirs/mine/minkowski.pth"],
    "transfer": [
        f"work_dirs/transfer/my_scan_protocol/50pct/{name}"
        for name in ("table.md", "predictions.png")
    ],
}
QUICK = ["--cfg-options", "loader.num_workers=0", "log.tensorboard=False"]


def scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(653, 3) points of a box on a ground, and their classes. A prime: columns are clear."""
    ground = random.uniform(-4, 4, (501, 3)) * (1, 1, 0)
    box = random.uniform(-0.5, 0.5, (152, 3))
    box += [*random.uniform(-3, 3, 2), 0.6]
    label = np.repeat(np.array([0, 1], np.uint8), [501, 152])
    return np.concatenate([ground, box]).astype(np.float32), label


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The folders that the page speaks of."""
    root = tmp_path_factory.mktemp("workplace")
    random = np.random.default_rng(0)
    for folder, ending in (("clouds/drive", "npy"), ("clouds", "bin"), ("mixed", "npy")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for k in range(4):
            points = scene(random)[0]
            rows = np.hstack([points, random.uniform(0, 1, (653, 1))]).astype(np.float32)
            if ending == "npy":
                np.save(root / folder / f"{k}.npy", rows)
            else:
                rows.tofile(root / folder / f"{k}.bin")
    (root / "mixed/torn.npy").write_bytes((root / "mixed/0.npy").read_bytes()[:500])
    for part in ("train", "val"):
        for name in ("clouds", "labels"):
            (root / "labelled" / part / name).mkdir(parents=True)
        for k in range(4):
            points, label = scene(random)
            np.save(root / "labelled" / part / "clouds" / f"{k}.npy", points)
            np.save(root / "labelled" / part / "labels" / f"{k}.npy", label)
    for block in blocks(PAGE):
        if block.file:
            (root / block.file).write_text(block.text)
    yield root
    shutil.rmtree(root / "work_dirs", ignore_errors=True)


def with_trial(line: str) -> list[str]:
    """The command with the options that the page gives for a trial."""
    arguments = words(line)
    if arguments[:2] == ["pointcl", "pretrain"]:
        return [*arguments, *TRIAL, *QUICK]
    if arguments[:2] == ["pointcl", "validate"]:
        return [*arguments, *QUICK]
    if arguments[:2] == ["pointcl", "transfer"]:
        assert TRANSFER_TRIAL is not None
        return arguments + shlex.split(TRANSFER_TRIAL[1])
    return arguments


def test_every_command_of_the_page_runs_and_leaves_what_it_names(workplace, monkeypatch, capfd):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("DENSECL_CACHE", str(workplace / "cache"))
    ran = set()
    for line in COMMANDS:
        arguments = with_trial(line)
        if arguments[0] == "pointcl":
            ran.add(arguments[1])
            assert main(arguments[1:]) == 0, f"{line}\n{capfd.readouterr().err}"
        else:
            assert arguments[0] == "python"
            ran.add(Path(arguments[1]).stem)
            exec(compile(Path(arguments[1]).read_text(), arguments[1], "exec"), {})
    text = "".join(capfd.readouterr())
    assert ran == {"check_clouds", "features_of_a_cloud", "validate", *OUTPUTS}
    missing = [name for names in OUTPUTS.values() for name in names if not Path(name).is_file()]
    assert not missing
    assert "8 of 8 scans read, 653 to 653 points" in text
    assert "skipped 1 unreadable: torn.npy" in text
    assert "export to minkowski: proven" in text
    assert "torch.Size([653, " in text  # features of every point
    assert "| mine" in text  # the table's row
    assert "'up': 'y'" in Path("work_dirs/turned/config.py").read_text()  # beside --data
    (line,) = read_scalars(Path("work_dirs/mine"))
    explained = METHOD + (ROOT / "docs" / "troubleshooting.md").read_text()
    assert not [name for name in line if name != "step" and f"`{name}`" not in explained]


def test_scans_of_other_fields_are_refused_by_name_as_the_page_says(tmp_path, capsys):
    assert "all scans of a folder have to carry the same" in " ".join(PAGE.split())
    for k, columns in enumerate((3, 4)):
        np.save(tmp_path / f"{k}.npy", np.random.default_rng(k).uniform(0, 1, (50, columns)))
    name = "pointcontrast_unet14w16_1xb4-600s_streets-30cm"
    options = ["--batch-size", "2", *QUICK]
    assert main(["validate", name, "--data", str(tmp_path), *options]) == 2
    assert "fields of '1.npy' and '0.npy' differ" in capsys.readouterr().err.replace(
        "'0.npy' and '1.npy' differ", "'1.npy' and '0.npy' differ"
    )


def test_the_formats_of_the_page_are_those_that_are_read():
    from pointcl.data.formats.read import EXTENSIONS

    (listed,) = re.findall(r"your folder \(([^)]*?), mixed", " ".join(PAGE.split()))
    assert tuple(re.findall(r"`(\.\w+)`", listed)) == EXTENSIONS


def test_data_sets_that_the_page_calls_posed_have_poses():
    from pointcl.registry import DATASETS

    DATASETS.import_from_location()
    (listed,) = re.findall(r"and these have: (.*?) \(\[layouts\]", " ".join(PAGE.split()))
    named = re.findall(r"`(\w+)`", listed)
    assert len(named) == 5
    assert not [name for name in named if name not in DATASETS.module_dict]
