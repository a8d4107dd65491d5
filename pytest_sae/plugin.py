"""The pytest plugin: hooks and fixtures, each a few lines that delegate.

It is loaded in every pytest run of an environment, so nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.errors import PytestSAEError
from pytest_sae.options import add_options

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.run.gating import Gate
    from pytest_sae.run.pinning import Spec
    from pytest_sae.run.run import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare flags and ini keys."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer the hooks of this plugin."""
    from pytest_sae.run import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Set an older report aside: a run that is killed while it starts must not leave it."""
    from pytest_sae.run.previous_report import set_aside_early

    # An option that cannot be used is refused where all of them are read.
    with contextlib.suppress(PytestSAEError):
        set_aside_early(early_config)
    yield


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, refuse what cannot be used, and start keeping records."""
    from pytest_sae.run.families import add_families
    from pytest_sae.run.previous_report import put_back

    # First: thresholds may bound their metrics.
    add_families(config)
    config.addinivalue_line(
        "markers", "sae_metric(*names, **settings): one test per metric and setting of an SAE"
    )
    config.addinivalue_line(
        "markers", "sae_family(name): the same, of all its metrics that no other test names"
    )
    try:
        run = _run(config)
        if run.options.asked:
            run.foreseen_thresholds()
        if run.options.baseline and run.expects_sae_tests():
            _ = run.baseline
        if config.getoption("sae"):
            _ = run.specs
        if run.earlier:
            from pytest_sae.run.resume import Replay

            config.pluginmanager.register(Replay(config, run.earlier), "sae-replay")
        if run.options.asked:
            from pytest_sae.run.distribution import check_distribution

            check_distribution(config)
    except PytestSAEError as error:
        put_back(config)
        raise pytest.UsageError(str(error)) from None
    if not hasattr(config, "workerinput"):
        from pytest_sae.run.controller import Controller

        config.pluginmanager.register(Controller(run), "sae-controller")
        if run.shows_progress:
            from pytest_sae.run.progress import WATCHING
            from pytest_sae.run.watching import Watching

            config.pluginmanager.register(Watching(run), WATCHING)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what will be evaluated, if anything may be."""
    from pytest_sae.run.header import header

    return header(_run(config))


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per SAE, and one per metric and setting."""
    marks = map(metafunc.definition.get_closest_marker, ("sae_metric", "sae_family"))
    if "sae_spec" in metafunc.fixturenames or any(marks):
        from pytest_sae.run.parametrise import parametrise

        parametrise(metafunc, _run(metafunc.config))
    if "audit_world" in metafunc.fixturenames:
        from pytest_sae.run.audited_worlds import parametrise_worlds

        parametrise_worlds(metafunc, _run(metafunc.config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the audit unless it was asked for, and read the bounds that tests lie beside."""
    _run(config).foresee(
        item.path for item in items if "sae_spec" in getattr(item, "fixturenames", ())
    )
    if not _run(config).options.audit:
        audits = [item for item in items if "audit_world" in getattr(item, "fixturenames", ())]
        if audits:
            config.hook.pytest_deselected(items=audits)
            items[:] = [item for item in items if item not in audits]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what a test measured on its report."""
    report = yield
    if "sae_spec" in getattr(item, "fixturenames", ()):
        from pytest_sae.run.attaching import attach_rows

        attach_rows(item, call, report)
    if report.when == "call" and "audit_world" in getattr(item, "fixturenames", ()):
        from pytest_sae.run.audited_worlds import attach

        attach(item, report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the controller what this worker was and did."""
    output = getattr(session.config, "workeroutput", None)
    description = _run(session.config).describe()
    if output is not None and description is not None:
        import json

        output["sae"] = json.dumps(description)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send a worker the options and the SAEs, resolved once."""
    # As text that is ASCII: execnet takes none with a name that is not UTF-8.
    node.workerinput["sae"] = ascii(_run(node.config).for_worker())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Spec]) -> None:
    """Give every worker a GPU of its own."""
    run = _run(config)
    if run.options.device != "cpu" and run.expects_sae_tests():
        from pytest_sae.run.pinning import pin, visible_devices

        pin(specs, visible_devices())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start as many workers as there are SAEs or GPUs, where there are GPUs."""
    from pytest_sae.run.pinning import visible_devices

    try:
        run = _run(config)
        wanted = run.options.device != "cpu" and run.expects_sae_tests()
        devices = visible_devices() if wanted else []
        return min(len(devices), len(run.specs)) or None
    except PytestSAEError:
        return None  # pytest_configure comes later, and says what is wrong.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """Let one worker own one SAE, whichever way other tests are distributed."""
    run = _run(config)
    ids = run.sae_ids
    from pytest_sae.run.scheduler import XDIST, SAEOrXdistScheduling

    if config.getoption("dist") not in XDIST or not ids:
        return None
    return SAEOrXdistScheduling(config, log, ids, run.expects_sae_tests())


@pytest.fixture(scope="session")
def sae_spec(request: pytest.FixtureRequest) -> SAESpec:
    """Id and path of the SAE under test; what tests are parametrised over."""
    spec: SAESpec = request.param
    return spec


@pytest.fixture(scope="session")
def eval_session(pytestconfig: pytest.Config) -> Iterator[Any]:
    """The one evaluation session of this process: models, caches, measurements."""
    from pytest_sae.run.failures import guarded

    run = _run(pytestconfig)
    run.session = guarded("starting the evaluation", lambda: _make_session(run))
    yield run.session
    run.end_session()


@pytest.fixture(scope="session")
def sae(sae_spec: SAESpec, eval_session: Any) -> Iterator[Any]:
    """The SAE under test; at most one is loaded at a time."""
    from pytest_sae.run.failures import guarded

    loaded = guarded(f"loading {sae_spec.id}", lambda: eval_session.load(sae_spec))
    yield loaded
    eval_session.release(loaded)


@pytest.fixture(scope="session")
def model(sae: Any, eval_session: Any) -> Any:
    """The language model that the SAE was trained on."""
    return _guarded("loading the model", lambda: eval_session.model(sae))


@pytest.fixture(scope="session")
def latents(sae: Any, eval_session: Any) -> Any:
    """What the SAE makes of the run's texts."""
    return _guarded("encoding the texts", lambda: eval_session.latents(sae))


@pytest.fixture
def audit_world(request: pytest.FixtureRequest) -> str:
    """The name of a world whose truth is known; only under --sae-audit."""
    return str(request.param)


@pytest.fixture
def audited(request: pytest.FixtureRequest, audit_world: str) -> Any:
    """What the audit found on that world."""
    from pytest_sae.run.audited_worlds import audited_world

    return audited_world(request, _run(request.config), audit_world)


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Gate:
    """Judge a measurement: record it, and fail the test unless it is inside its bounds."""
    from pytest_sae.run.gating import Gate

    return Gate(request.node, _run(request.config))


def _run(config: pytest.Config) -> Run:
    from pytest_sae.run.run import Run

    return Run.of(config)


def _make_session(run: Run) -> Any:
    from pytest_sae.run.progress import progress_of
    from pytest_sae.session.session import EvalSession

    progress = progress_of(run.config)
    return EvalSession(run.options, progress, run.workers, run.controls_needed())


def _guarded(what: str, make: Callable[[], Any]) -> Any:
    from pytest_sae.run.failures import guarded

    return guarded(what, make)
