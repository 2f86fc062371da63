"""Create the environment and install the project into it: what `make install` runs.

An installed torch is honoured: if the interpreter already imports one, the environment is
created on top of it and nothing replaces it. Otherwise `--torch` says which to install.
Afterwards exactly one OpenCV distribution is left, whatever the dependencies asked for.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "seg,det,viz,regions,3d,dev"
OPENCV = "opencv-python-headless"
OPENCV_NAMES = ("opencv-python", OPENCV, "opencv-contrib-python", "opencv-contrib-python-headless")


def run(*command: str | Path) -> None:
    """Run a command, show it, stop at the first failure."""
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True)


def version_of(python: Path | str, distribution: str) -> str | None:
    """Version of an installed distribution as `python` sees it, or None."""
    code = (
        "import importlib.metadata as m, sys\n"
        "try: print(m.version(sys.argv[1]))\n"
        "except m.PackageNotFoundError: pass"
    )
    done = subprocess.run(
        [str(python), "-c", code, distribution], check=True, capture_output=True, text=True
    )
    return done.stdout.strip() or None


def create(folder: Path) -> Path:
    """Make the virtual environment, seeing the base's packages only if torch is among them."""
    python = folder / "bin" / "python"
    if not python.exists():
        honour = version_of(sys.executable, "torch") is not None
        note = " on top of the installed torch" if honour else ""
        print(f"creating {folder}{note}", flush=True)
        venv.create(folder, with_pip=True, system_site_packages=honour)
    return python


def one_opencv(python: Path) -> None:
    """Leave exactly one OpenCV distribution: several overwrite each other's files."""
    found = {name: version for name in OPENCV_NAMES if (version := version_of(python, name))}
    if len(found) == 1:
        return
    version = found.get(OPENCV) or next(iter(found.values()), None)
    if found:
        run(python, "-m", "pip", "uninstall", "-q", "-y", *found)
    requirement = f"{OPENCV}=={version}" if version else OPENCV
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", requirement)


def main() -> None:
    """Install torch if there is none, then the project with what tests and quickstart need."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument(
        "--torch", default="torch==2.13.0", help="requirement, options of pip allowed"
    )
    parser.add_argument("--extras", default=EXTRAS)
    args = parser.parse_args()

    python = create(args.venv)
    if version_of(python, "torch") is None:
        run(python, "-m", "pip", "install", "-q", *shlex.split(args.torch))
    torch = version_of(python, "torch")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraint:
        constraint.write(f"torch=={torch}\n")
        constraint.flush()
        run(python, "-m", "pip", "install", "-q", "-c", constraint.name, "-e",
            f"{ROOT}[{args.extras}]")  # fmt: skip
    one_opencv(python)
    opencv = [f"{n} {v}" for n in OPENCV_NAMES if (v := version_of(python, n))]
    print(f"installed into {args.venv}: torch {torch}, {', '.join(opencv)}")


if __name__ == "__main__":
    main()
