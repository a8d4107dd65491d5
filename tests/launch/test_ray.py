"""Ray: a cluster of several nodes on this machine, one of which is killed half-way.

Run on demand with -m ray, where the extra is installed.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.launch.launched import SAES, Launched, comparable, finished, wait_for

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'pytest-sae[ray]'")

# Bytes of memory for objects; ours are the lines of a log.
_SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@dataclass
class Nodes:
    """A cluster with room for one SAE on the driver's node, and for one on each node more.

    A driver is of a node that is there when it begins, so that later ones can be killed.
    """

    cluster: Any
    workers: list[Any]

    @property
    def address(self) -> str:
        return f"--address={self.cluster.address}"

    def add(self) -> None:
        self.workers.append(self.cluster.add_node(num_cpus=1, **_SMALL))

    def kill(self, node: Any) -> None:
        """As when its power fails."""
        self.cluster.remove_node(node, allow_graceful=False)
        self.workers.remove(node)


@pytest.fixture
def nodes(launched: Launched) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    # Its processes are the environment's, as the project has it.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **_SMALL})
    try:
        yield Nodes(cluster, [])
    finally:
        cluster.shutdown()


def launch(launched: Launched, nodes: Nodes, *arguments: str) -> tuple[int, str]:
    return finished(launched.start("--engine=ray", nodes.address, *arguments))


def test_a_launch_on_two_nodes_ends_with_the_report_of_one_run_to_the_bit(
    launched: Launched, nodes: Nodes
) -> None:
    whole = launched.whole()
    nodes.add()
    status, output = launch(launched, nodes)
    assert status == 1, output
    assert comparable(launched.report()) == whole
    assert all(launched.ran(sae) == [f"scr:n={n}" for n in range(4)] for sae in SAES)


def test_a_node_that_is_killed_half_way_costs_no_more_than_what_it_was_at(
    launched: Launched, nodes: Nodes
) -> None:
    whole = launched.whole()
    launched.wait("c")
    launched.wait("b")
    run = launched.start("--engine=ray", nodes.address)
    wait_for(lambda: launched.held("c"), run)
    nodes.add()
    wait_for(lambda: launched.held("b"), run)
    nodes.kill(nodes.workers[0])
    wait_for(lambda: not launched.runs("b"), run)
    launched.wait("c", go=True)
    launched.wait("b", go=True)
    status, output = finished(run)
    assert status == 1, output
    assert launched.ran("b") == ["scr:n=0", "scr:n=1", "scr:n=2", "scr:n=2", "scr:n=3"]
    assert "tried again" in output
    assert comparable(launched.report()) == whole


def test_an_interrupted_launch_tells_what_it_has(launched: Launched, nodes: Nodes) -> None:
    launched.project.thresholds("[metrics.explained_variance]\nmin = 0.3")
    for sae in SAES:
        launched.wait(sae)
    run = launched.start("--engine=ray", nodes.address)
    wait_for(lambda: launched.held("c"), run)
    nodes.add()
    wait_for(lambda: launched.held("b"), run)
    run.send_signal(signal.SIGINT)
    status, output = finished(run)
    assert status == 2, output
    report = launched.report()
    assert (report["complete"], report["verdict"]) == (False, "incomplete")
    assert "a never came back: the launch was interrupted" in report["problems"]


def test_an_address_of_nobody_is_said(launched: Launched) -> None:
    status, output = finished(launched.start("--engine=ray", "--address=127.0.0.1:1"))
    assert status == 2, output
    assert "--address=127.0.0.1:1" in output
    assert "Expected the address of a cluster that runs" in " ".join(output.split())


def test_more_gpus_than_any_node_has_are_said(launched: Launched, nodes: Nodes) -> None:
    status, output = launch(launched, nodes, "--num-gpus-per-sae=64")
    assert status == 2, output
    assert "no node of the cluster has 64 GPUs and 1 CPUs (the most GPUs of one are 0)" in output


def test_nodes_that_share_a_cache_are_told_from_those_that_do_not(
    nodes: Nodes, tmp_path: Path
) -> None:
    from pytest_sae.launch.on_ray import RayEngine

    engine = RayEngine(nodes.cluster.address, 0, 1, None, None)
    try:
        assert len(engine.places(str(tmp_path))) == 1  # both are this machine
        assert [*tmp_path.iterdir()] == []
    finally:
        engine.close()
