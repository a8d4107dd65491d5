"""One worker owns one SAE: a scheduler for xdist, handed over through its public hook.

Everything that touches xdist's private methods is in this file; tests/plugin/test_xdist.py holds
the behaviour that must survive a new xdist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xdist.scheduler import (
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    WorkStealingScheduling,
)

from pytest_sae.run.nodeids import key_of_nodeid, sae_of_nodeid

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class SAEScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """The tests of one SAE are one unit of work; other tests are grouped as --dist says.

    Args:
        others: what xdist would schedule them by.
    """

    def __init__(
        self, config: pytest.Config, log: Producer, sae_ids: Sequence[str], others: Any
    ) -> None:
        super().__init__(config, log)
        self._sae_ids = sae_ids
        self._others = others

    def _split_scope(self, nodeid: str) -> str:
        sae = sae_of_nodeid(nodeid, self._sae_ids)
        if sae:
            return f"sae {sae}"
        grouped = isinstance(self._others, LoadScopeScheduling)
        return str(self._others._split_scope(nodeid)) if grouped else nodeid

    def remove_node(self, node: WorkerController) -> str | None:
        """Give a lost worker's tests to the others, all but the one that it died in.

        xdist 3.8 would queue that one again as well, and so lose worker after worker to it.
        """
        units = self.assigned_work.pop(node)
        pending: list[str] = [
            test for unit in units.values() for test, done in unit.items() if not done
        ]
        if not pending:
            return None
        for scope, unit in units.items():
            left = {test: False for test, done in unit.items() if not done and test != pending[0]}
            if left:
                self.workqueue[scope] = left
        for other in self.assigned_work:
            self._reschedule(other)
        return pending[0]

    def _reschedule(self, node: WorkerController) -> None:
        # A worker that replaces a lost one has no collection yet, so it cannot be given indices.
        if node not in self.registered_collections:
            return
        super()._reschedule(node)
        # A worker starts a test only when it knows the one after it, and a unit may have just one.
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)


#: xdist's own, by what --dist calls them. Several lose tests or hang when a worker is lost.
XDIST = {
    "load": LoadScheduling,
    "loadscope": LoadScopeScheduling,
    "loadfile": LoadFileScheduling,
    "loadgroup": LoadGroupScheduling,
    "worksteal": WorkStealingScheduling,
}


class SAEOrXdistScheduling:
    """`SAEScheduling` if tests with SAEs were collected, otherwise what --dist says.

    Which of them is known only when the workers have collected, so the choice is made there. A run
    without SAEs is then distributed exactly as it would be without this plugin.

    Args:
        asked: whether SAE tests are expected. Where they are not, a parameter that is called as the
            bundled SAE is, `topk`, makes no test one of ours: that takes a metric beside it.
    """

    def __init__(
        self, config: pytest.Config, log: Producer, sae_ids: Sequence[str], asked: bool
    ) -> None:
        self._xdist = XDIST[config.getoption("dist")](config, log)
        self._chosen: Any = SAEScheduling(config, log, sae_ids, self._xdist)
        self._sae_ids = sae_ids
        self._asked = asked

    def schedule(self) -> None:
        """Choose when called first, then let the chosen scheduler distribute."""
        undecided = self._chosen is not self._xdist and self._chosen.collection is None
        if undecided and not self._has_sae_tests():
            self._hand_over()
        self._chosen.schedule()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chosen, name)

    def _has_sae_tests(self) -> bool:
        collections = self._chosen.registered_collections.values()
        return any(self._is_ours(test) for tests in collections for test in tests)

    def _is_ours(self, nodeid: str) -> bool:
        sae = sae_of_nodeid(nodeid, self._sae_ids)
        return sae is not None and (self._asked or key_of_nodeid(nodeid, sae) is not None)

    def _hand_over(self) -> None:
        collected = self._chosen.registered_collections
        for node in dict.fromkeys((*self._chosen.nodes, *collected)):
            self._xdist.add_node(node)
        for node, tests in collected.items():
            self._xdist.add_node_collection(node, tests)
        # Those that are gone already: they were given a path that does not exist, say.
        for node in [each for each in collected if each not in self._chosen.nodes]:
            self._xdist.remove_node(node)
        self._chosen = self._xdist
