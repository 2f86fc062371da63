"""Maps the top-level `configs/` into the wheel as `densecl/configs`; the rest is pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

CONFIGS = Path(__file__).parent / "configs"

setup(
    packages=[*find_packages(include=["densecl*", "pointcl*"]), "densecl.configs"],
    package_dir={"densecl.configs": "configs"},
    package_data={
        "densecl": ["py.typed", "report/page.css", "report/page.js"],
        "pointcl": ["py.typed", "viz/viewer.html", "viz/viewer.js"],
        "densecl.configs": [str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.py")],
    },
)
