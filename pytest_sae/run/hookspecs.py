"""The hooks that this plugin offers to other packages and to a conftest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_sae.families.card import Card


@pytest.hookspec(historic=True)
def pytest_sae_families(register: Callable[[Card], None]) -> None:
    """Add families of metrics.

    Each gets a fixture of its name, its metrics can be tested and bounded, and it has its place in
    reports, controls and the audit, as the families of this package have.

    Args:
        register: call it with a `pytest_sae.Card`.
    """
