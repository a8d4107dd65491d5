"""What the installed plugin costs: an unrelated run, collecting the suite, the whole default run.

    python benchmarks/startup.py [--repeats 9] [--skip-suite]

Unrelated runs with and without the plugin alternate, so that a drifting machine slows both.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELATED_LIMIT_MS = 30
COLLECT_LIMIT_S = 1
SUITE_LIMIT_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="runs of each command")
    parser.add_argument("--skip-suite", action="store_true", help="do not run the default suite")
    arguments = parser.parse_args()
    unrelated_run(arguments.repeats)
    collecting(arguments.repeats)
    if not arguments.skip_suite:
        default_suite()


def unrelated_run(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        Path(directory, "pytest.ini").write_text("[pytest]\n")
        with_plugin, without = [], []
        seconds(["-q"], directory)
        for _ in range(repeats):
            with_plugin.append(seconds(["-q"], directory))
            without.append(seconds(["-q", "-p", "no:sae"], directory))
    added = 1000 * (statistics.median(with_plugin) - statistics.median(without))
    print(
        f"unrelated run: {1000 * statistics.median(with_plugin):.0f} ms with the plugin,"
        f" {1000 * statistics.median(without):.0f} ms without: {added:.0f} ms added"
        f" (limit {UNRELATED_LIMIT_MS} ms)"
    )


def collecting(repeats: int) -> None:
    seconds(["evals/", "--collect-only", "-q"], str(ROOT))
    times = [seconds(["evals/", "--collect-only", "-q"], str(ROOT)) for _ in range(repeats)]
    print(
        f"pytest evals/ --collect-only: {statistics.median(times):.2f} s"
        f" (limit {COLLECT_LIMIT_S} s)"
    )


def default_suite() -> None:
    for workers in ("0", "2"):
        with tempfile.TemporaryDirectory() as directory:
            command = ["evals/", "-q", "-n", workers, "--sae-report", f"{directory}/report"]
            cold = seconds([*command, "--sae-cache", f"{directory}/cache"], str(ROOT))
            warm = seconds([*command, "--sae-cache", f"{directory}/cache"], str(ROOT))
        print(
            f"pytest evals/ -n {workers}: {cold:.1f} s with a cold cache, {warm:.1f} s with a warm"
            f" one (limit {SUITE_LIMIT_S} s)"
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of one process: {peak:.0f} MiB")


def seconds(arguments: list[str], directory: str) -> float:
    # Compiled once, as everything is that pip has installed.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"pytest {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
