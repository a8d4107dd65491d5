"""The versions of Python and of the packages that numbers depend on, none of them imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "pytest-sae", "pytest", "pytest-xdist", "torch", "transformers", "sae-lens", "numpy", "scipy",
    "scikit-learn", "litellm",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the version of each that is installed, by name."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
