"""Tasks on Ray: it decides on which node each of them runs, and with which GPUs."""

from __future__ import annotations

import socket
import tempfile
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_sae.errors import OptionError
from pytest_sae.launch.node import Mirror, Part, evaluate, keep
from pytest_sae.launch.task import Ended, Order, Task

_HOPELESS = 60.0  # seconds without a node that could take what waits
_PATIENCE = 10.0  # seconds to wait for somebody at an address


class RayEngine:
    """Tasks of one Ray job.

    Args:
        address: of the cluster; None for that which Ray finds, or starts on this machine.
        gpus: for each task.
        cpus: for each task.
        jobs: most tasks at a time, None for as many as there is room for.
        runtime_env: what Ray sets up on the nodes first.

    Raises:
        OptionError: Ray is not installed, not there, or has no node that is large enough.
    """

    def __init__(
        self,
        address: str | None,
        gpus: float,
        cpus: float,
        jobs: int | None,
        runtime_env: Mapping[str, Any] | None,
    ) -> None:
        self._ray = connected(address, runtime_env)
        self._needed = {name: n for name, n in (("CPU", cpus), ("GPU", gpus)) if n}
        if not self._fitting():
            most = max((each["Resources"].get("GPU", 0) for each in self._nodes()), default=0)
            raise OptionError(
                f"no node of the cluster has {gpus:g} GPUs and {cpus:g} CPUs (the most GPUs of one "
                f"are {most:g}). Expected less of --num-gpus-per-sae or --num-cpus-per-sae."
            )
        self._jobs = jobs
        self._waiting: deque[tuple[Task, Order]] = deque()
        self._running: dict[Any, Task] = {}
        self._begun: set[Any] = set()
        self._alone_since: float | None = None
        options: dict[str, Any] = {"num_gpus": gpus, "num_cpus": cpus, "max_retries": 0}
        self._remote = self._ray.remote(num_returns="streaming", **options)(_on_node)

    def places(self, cache: str) -> list[str]:
        """Return a node of each group of nodes that has a cache of its own."""
        nodes = self._fitting()
        mark = f".launch-{uuid.uuid4().hex}"
        for node in nodes:
            self._ask(node, _left, cache, f"{mark}-{node}")
        seen = {node: self._ask(node, _seen, cache, mark) for node in nodes}
        for node in nodes:
            self._ask(node, _gone, cache, f"{mark}-{node}")
        return list(dict.fromkeys(min(each, default=node) for node, each in seen.items()))

    def submit(self, orders: Sequence[tuple[Task, Order]]) -> None:
        """Hand tasks to Ray, as many as may run at a time."""
        self._waiting.extend(orders)
        self._hand_over()

    def ended(self) -> list[Ended]:
        """Take what nodes have sent; one that is lost ends its tasks."""
        if not self._running:
            return []
        ready, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=1.0)
        found = [end for each in ready if (end := self._advance(each)) is not None]
        found += self._hopeless()
        self._hand_over()
        return found

    def close(self) -> None:
        """Stop what runs, and leave the cluster."""
        for each in self._running:
            self._ray.cancel(each)
        self._running.clear()
        self._ray.shutdown()

    def _hand_over(self) -> None:
        while self._waiting and (self._jobs is None or len(self._running) < self._jobs):
            task, order = self._waiting.popleft()
            remote = self._remote.options(**_affinity(task.place)) if task.place else self._remote
            self._running[remote.remote(order)] = task

    def _advance(self, generator: Any) -> Ended | None:
        task = self._running[generator]
        try:
            said: Part | int = self._ray.get(next(generator))
        except StopIteration:
            return self._end(generator, Ended(task, None, "it ended without a status"))
        except self._ray.exceptions.RayError as error:
            return self._end(generator, Ended(task, None, _first_line(error)))
        self._begun.add(generator)
        if isinstance(said, int):
            return self._end(generator, Ended(task, said))
        keep(task.home, said)
        return None

    def _end(self, generator: Any, ended: Ended) -> Ended:
        del self._running[generator]
        self._begun.discard(generator)
        return ended

    def _hopeless(self) -> list[Ended]:
        """End what waits for a node when there is none that could take it."""
        waiting = [each for each in self._running if each not in self._begun]
        if not waiting or self._fitting():
            self._alone_since = None
            return []
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since < _HOPELESS:
            return []
        why = "the cluster has no node left that could take it"
        for each in waiting:
            self._ray.cancel(each)
        return [self._end(each, Ended(self._running[each], None, why)) for each in waiting]

    def _nodes(self) -> list[dict[str, Any]]:
        return [each for each in self._ray.nodes() if each["Alive"]]

    def _fitting(self) -> list[str]:
        return [
            str(node["NodeID"])
            for node in self._nodes()
            if all(node["Resources"].get(name, 0) >= n for name, n in self._needed.items())
        ]

    def _ask(self, node: str, question: Any, *arguments: str) -> Any:
        remote = self._ray.remote(num_cpus=0, max_retries=0)(question)
        return self._ray.get(remote.options(**_affinity(node)).remote(*arguments))


def connected(address: str | None, runtime_env: Mapping[str, Any] | None) -> Any:
    """Return the module ray, connected to a cluster.

    Args:
        address: of it; None for that which Ray finds, or starts on this machine.
        runtime_env: what Ray sets up on the nodes first.

    Raises:
        OptionError: Ray is not installed, or does not find the cluster.
    """
    try:
        import ray
    except ImportError:
        raise OptionError(
            "--engine=ray needs Ray, which is not installed. Expected the extra: "
            "pip install 'pytest-sae[ray]'."
        ) from None
    _reach(address)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            ray.init(
                address=address,
                runtime_env=dict(runtime_env or {}),
                include_dashboard=None if address else False,
                logging_level="warning",
                log_to_driver=False,
            )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise _unreachable(address, error) from None
    return ray


def _reach(address: str | None) -> None:
    """Refuse an address at which nobody listens: Ray would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return  # none, or one of Ray's own words
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str | None, error: Exception) -> OptionError:
    return OptionError(
        f"--address={address or ''}: {_first_line(error)}. Expected the address of a cluster that "
        "runs (`ray status` shows it), or none for Ray on this machine."
    )


def _on_node(order: Order) -> Iterator[Part | int]:
    """Run a task in a directory of its own, and send what it writes."""
    with tempfile.TemporaryDirectory(prefix="pytest-sae-") as name:
        mirror = Mirror(Path(name), order.log)
        for status in evaluate(order, Path(name)):
            yield from mirror.news()
            if status is not None:
                yield status


def _affinity(node: str) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)}


def _left(cache: str, name: str) -> None:
    Path(cache).mkdir(parents=True, exist_ok=True)
    (Path(cache) / name).touch()


def _seen(cache: str, mark: str) -> list[str]:
    return [path.name.removeprefix(f"{mark}-") for path in Path(cache).glob(f"{mark}-*")]


def _gone(cache: str, name: str) -> None:
    (Path(cache) / name).unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
