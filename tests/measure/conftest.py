"""What the tests of measurements share."""

from __future__ import annotations

import pytest
import torch

from pytest_sae.activations.store import Store


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Sums depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def store() -> Store:
    """Activations of one file of tests, in memory."""
    return Store(None)
