"""The audit as tests: one per world, so that worlds run on different workers.

parametrise_worlds(metafunc, run)      audited_world(request, run, name) -> WorldAudit
attach(item, report)                   # the record travels on the test's report
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_sae.audit.values import WorldAudit
    from pytest_sae.run.run import Run

#: The size of the audit by the suite of the run.
SIZE = {"smoke": "smoke", "standard": "small", "paper": "large"}

_RECORD = pytest.StashKey[dict[str, Any]]()


def parametrise_worlds(metafunc: pytest.Metafunc, run: Run) -> None:
    """Make one test per world; a single nameless one where no audit was asked for.

    Args:
        metafunc: pytest's, of the test.
        run: whose options say whether there is an audit, and of which size.
    """
    names = ["not asked for"]
    if run.options.audit:
        from pytest_sae.audit.gather import SIZES

        names = [spec.name for spec in SIZES[SIZE[run.options.suite]].worlds]
    metafunc.parametrize("audit_world", names, indirect=True)


def audited_world(request: pytest.FixtureRequest, run: Run, name: str) -> WorldAudit:
    """Measure the panel of a world, and keep the record for the test's report.

    Args:
        request: of the test that keeps the record.
        run: whose options name size, device, threads and cache.
        name: of a world that an audit of this size has.

    Returns:
        What was measured on the world.
    """
    from pytest_sae.activations.store import Store
    from pytest_sae.audit.gather import SIZES, gather
    from pytest_sae.audit.summary import world_record
    from pytest_sae.run.progress import progress_of
    from pytest_sae.session.threads import threads

    size = SIZES[SIZE[run.options.suite]]
    spec = next(each for each in size.worlds if each.name == name)
    device = run.options.device if run.options.device.startswith("cuda") else "cpu"
    progress = progress_of(run.config)
    with threads(run.options.threads):
        found = gather(spec, size, Store(run.options.cache), progress=progress, device=device)
    request.node.stash[_RECORD] = world_record(found)
    return found


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put a world's record on the report of its test.

    Args:
        item: the test; one that measured no world has no record.
        report: of the test.
    """
    record = item.stash.get(_RECORD, None)
    if record is not None:
        vars(report)["sae_audit"] = record
