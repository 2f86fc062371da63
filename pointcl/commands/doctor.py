"""`pointcl doctor`: which backends of sparse convolution are there."""

from __future__ import annotations

import argparse
import platform

PACKAGES = (
    "densecl",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "pypatchworkpp",
    "plyfile",
    "pypcd4",
    "laspy",
    "pyarrow",
    "MinkowskiEngine",
    "spconv",
    "open3d",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    import torch

    from densecl.commands.doctor import installed
    from pointcl.weights.standins.minkowski_operators import import_minkowski
    from pointcl.weights.standins.spconv_operators import import_spconv

    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, version in installed(PACKAGES).items():
        print(f"  {name:<24}{version}")
    threads = torch.get_num_threads()
    spconv, minkowski = import_spconv() is not None, import_minkowski() is not None
    gpu = torch.cuda.is_available()
    print(f"torch: runs here on {'the GPU and ' if gpu else ''}the CPU ({threads} threads)")
    print(f"spconv: {'imports; right on the CPU on one thread only' if spconv else 'absent'}")
    print(f"MinkowskiEngine: {'imports' if minkowski else 'absent'}")
    return 0
