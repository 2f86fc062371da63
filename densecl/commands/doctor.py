"""`densecl doctor`: what is installed, what works, what to mend."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

PACKAGES = (
    "densecl",
    "torch",
    "numpy",
    "scipy",
    "mmengine",
    "albumentations",
    "mmsegmentation",
    "mmcv",
    "mmcv-lite",
    "tensorboard",
    "matplotlib",
    "open3d",
    "spconv",
    "MinkowskiEngine",
)
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
GIB = 1024**3


def installed(names: Iterable[str]) -> dict[str, str]:
    """Name -> version of the distributions that are there."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def memory() -> tuple[float, float] | None:
    """(total, available) main memory in GiB, or None where the system does not tell."""
    table = Path("/proc/meminfo")
    if not table.exists():
        return None
    rows = dict(line.split(":", 1) for line in table.read_text().splitlines())
    kib = {name: float(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable")}
    return kib["MemTotal"] / 1024**2, kib["MemAvailable"] / 1024**2


def advice(opencv: dict[str, str], versions: dict[str, str]) -> list[str]:
    """What is wrong and what to type, one line each."""
    lines = []
    if len(opencv) != 1:
        given = " and ".join(opencv) or "no OpenCV"
        remove = f"pip uninstall -y {' '.join(opencv)}; " if opencv else ""
        lines.append(
            f"{given} installed, exactly one is needed (several overwrite each other's files): "
            f"{remove}pip install --no-deps opencv-python-headless"
        )
    if "mmsegmentation" not in versions:
        lines.append("no mmsegmentation: `densecl transfer` needs it: pip install 'densecl[seg]'")
    if "mmcv" in versions and "mmcv-lite" in versions:
        lines.append("both mmcv and mmcv-lite are installed: pip uninstall -y mmcv-lite")
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something has to be mended."""
    import torch

    versions, opencv = installed(PACKAGES), installed(OPENCV)
    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, version in {**versions, **opencv}.items():
        print(f"  {name:<24}{version}")

    print(f"cpu: {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    found = memory()
    if found:
        print(f"memory: {found[0]:.1f} GiB, {found[1]:.1f} GiB available")
    print(f"disk here: {shutil.disk_usage('.').free / GIB:.1f} GiB free")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            print(
                f"gpu {index}: {properties.name}, {properties.total_memory / GIB:.1f} GiB, {bf16}"
            )
    else:
        print("gpu: none that torch sees; runs go to the CPU")

    if "mmsegmentation" in versions:
        compiled = importlib.util.find_spec("mmcv._ext") is not None
        without = "absent: heads that need them refuse; FCN, DeepLabV3+, UPerNet, SegFormer work"
        print(f"mmcv compiled operators: {'present' if compiled else without}")
    problems = advice(opencv, versions)
    for line in problems:
        print(f"! {line}")
    print("to mend: the lines with `!`" if problems else "all that the 2D path needs is there")
    return int(bool(problems))
