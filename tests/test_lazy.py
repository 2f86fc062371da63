from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "package",
    ["densecl", "densecl.engine", "densecl.transfer", "pointcl.transfer", "densecl.views"],
)
def test_every_public_name_is_listed_and_found(package):
    module = import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'absent'"):
        module.absent  # noqa: B018


def test_importing_the_packages_loads_no_trainer():
    code = (
        "import sys, densecl.engine, densecl.transfer, densecl.views; "
        "assert not {'torch', 'mmengine', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
