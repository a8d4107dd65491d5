"""The fixtures of families: one for each card, made when it is registered.

add_families(config)                 # those of this package, and what the hook brings
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.families import JUDGED, NAMES

if TYPE_CHECKING:
    from pytest_sae.families.card import Card
    from pytest_sae.run.measurements import Measurements

PREFIX = "sae-family-"


def add_families(config: pytest.Config) -> None:
    """Make the fixtures of this package's families, and of each that the hook registers."""

    def register(card: Card) -> None:
        from pytest_sae.families.registry import register_card

        plugin = _of(register_card(card))
        if not config.pluginmanager.has_plugin(plugin.__name__):
            config.pluginmanager.register(plugin, plugin.__name__)

    config.pluginmanager.register(_own(), f"{PREFIX}own")
    config.hook.pytest_sae_families.call_historic(kwargs={"register": register})


def _own() -> ModuleType:
    """Return a plugin with their fixtures; no card is read, for this is done in every run."""
    plugin = ModuleType(f"{PREFIX}own")
    for name in NAMES:
        setattr(plugin, name, _fixture(name, name in JUDGED))
    return plugin


def _of(card: Card) -> ModuleType:
    plugin = ModuleType(f"{PREFIX}{card.name}")
    setattr(plugin, card.name, _fixture(card.name, card.judged))
    return plugin


def _fixture(family: str, judged: bool) -> Any:
    told = f"What the family {family} measured on the SAE, by metric and setting."
    return _judged(family, told) if judged else _measured(family, told)


def _measured(family: str, told: str) -> Any:
    def measured(sae: Any, eval_session: Any) -> Measurements:
        from pytest_sae.run.failures import guarded
        from pytest_sae.run.measurements import Measurements

        what = f"measuring {family} on {sae.id}"
        return Measurements(family, guarded(what, lambda: eval_session.measure(family, sae)))

    measured.__doc__ = told
    return pytest.fixture(scope="session", name=family)(measured)


def _judged(family: str, told: str) -> Any:
    # For each test anew: the thresholds beside it say whether the judge passed its calibration.
    def judged(request: pytest.FixtureRequest, sae: Any, eval_session: Any) -> Measurements:
        from pytest_sae.run.judge_calibration import judged
        from pytest_sae.run.run import Run

        run = Run.of(request.config)
        return judged(family, run, request.node.path, sae, eval_session)

    judged.__doc__ = told
    return pytest.fixture(name=family)(judged)
