"""The project that is launched: SAEs whose measurements are made by hand, in no time."""

from __future__ import annotations

import pytest

from tests.launch.launched import Launched
from tests.plugin.conftest import project  # noqa: F401
from tests.plugin.project import Project


@pytest.fixture
def launched(project: Project) -> Launched:  # noqa: F811
    return Launched(project)
