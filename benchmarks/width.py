"""Time and memory of every family, by the number of latents: how fast they grow.

    python -m benchmarks.width [--widths 8192 32768 131072 262144] [--families tpp erasure ...]

For each width a random dictionary (TopK, encoder and decoder tied) of the bundled model is written
as sparsify writes it and measured at the size `smoke`, each width in a process of its own, on one
thread. Activations are cached by the first and read by the others. Printed are CPU seconds by
family, what the process held at most, and the exponent b of `seconds ~ latents^b` between the first
and the last width. Families that ask a judge are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from pytest_sae import bundled_world
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families.registry import cards
from pytest_sae.options import Options
from pytest_sae.session.session import EvalSession

HOOK, D, K = "layers.2", 128, 32
LIMIT = 1.1
FAMILIES = [card.name for card in cards() if not card.judged and not card.of_judge]


def main() -> None:
    """Measure each width, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    widths = [8192, 32768, 131072, 262144]
    parser.add_argument("--widths", type=int, nargs="+", default=widths, help="latents")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="which to measure")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments.cache, arguments.families)
    else:
        compare(arguments.widths, arguments.families)


def compare(widths: list[int], families: list[str]) -> None:
    """Measure each width in a process of its own and print what it took.

    Args:
        widths: ascending numbers of latents.
        families: names.
    """
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        cache = str(Path(directory, "cache"))
        for width in widths:
            dictionary = write(Path(directory, str(width)), width)
            one = ["--one", str(dictionary), "--cache", cache, "--families", *families]
            command = [sys.executable, "-m", "benchmarks.width", *one]
            if not found:  # fills the cache
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[width] = json.loads(done.stdout.splitlines()[-1])
            print(width, found[width], flush=True)
    table(found, widths)


def write(directory: Path, width: int, seed: int = 0) -> Path:
    """Write a random dictionary and return its path.

    Args:
        directory: of the dictionary's model site.
        width: latents.
        seed: of the weights.
    """
    inside = directory / HOOK
    inside.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(width, D, generator=generator), dim=1)
    tensors = {"encoder.weight": rows, "encoder.bias": torch.zeros(width)}
    tensors |= {"W_dec": rows.clone(), "b_dec": torch.zeros(D)}
    save_file(tensors, inside / "sae.safetensors")
    config = {"activation": "topk", "k": K, "d_in": D, "num_latents": width}
    (inside / "cfg.json").write_text(json.dumps(config))
    return inside


def measure(dictionary: Path, cache: str, families: list[str]) -> None:
    """Measure the families on one dictionary and print seconds and GiB as JSON.

    Args:
        dictionary: its directory.
        cache: directory of the activations.
        families: names.
    """
    torch.set_num_threads(1)
    session = EvalSession(options(cache))
    started = time.process_time()
    sae = session.load(resolve([f"model={bundled_world() / 'model'}:{dictionary}"])[0])
    taken = {"load": time.process_time() - started}
    for family in families:
        started = time.process_time()
        session.measure(family, sae)
        taken[family] = time.process_time() - started
    taken["GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({name: round(each, 2) for name, each in taken.items()}))


def options(cache: str) -> Options:
    """Return what a run of the suite at its smallest size says.

    Args:
        cache: directory of the activations.
    """
    return Options(
        sae=(),
        model=None,
        device="cpu",
        dtype="float32",
        suite="smoke",
        data=None,
        thresholds=None,
        report="",
        cache=cache,
        seed=0,
        gate=True,
        threads=1,
        asked=True,
        controls="off",
    )


def table(found: dict[int, dict[str, float]], widths: list[int]) -> None:
    """Print what each width took, and the growth.

    Args:
        found: by width, seconds by family, and GiB.
        widths: ascending.
    """
    first, last = widths[0], widths[-1]
    print("| CPU seconds |", " | ".join(f"{width:,}" for width in widths), "| exponent |")
    print("|---|" + "---|" * (len(widths) + 1))
    for name in found[first]:
        row = [found[width][name] for width in widths]
        growth = math.log(max(row[-1], 0.01) / max(row[0], 0.01)) / math.log(last / first)
        over = f" (limit {LIMIT})" if growth > LIMIT else ""
        print(f"| {name} |", " | ".join(f"{each:.2f}" for each in row), f"| {growth:.2f}{over} |")


if __name__ == "__main__":
    main()
