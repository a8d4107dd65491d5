"""The project that the plugin's own tests run."""

from tests.plugin.conftest import project

__all__ = ["project"]
