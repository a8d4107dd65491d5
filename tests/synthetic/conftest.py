"""Worlds are small: with a thread per core linear algebra waits for itself most of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sae.session.threads import threads


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield
