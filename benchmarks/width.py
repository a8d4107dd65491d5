"""Time and memory of every family, by the number of latents: how fast they grow.

    python -m benchmarks.width [--widths 8192 32768 262144] [--d-in 128] [--texts 1.0]

For each width a random dictionary (TopK, encoder and decoder tied) is written as sparsify writes it
and measured at the size `smoke`, each width in a process of its own, on one thread. Activations are
cached by the first and read by the others. Printed are CPU seconds by family, the exponent b of
`seconds ~ latents^b` between the first and the last width, and what the process held at most while
it measured each family. Families that ask a judge are left out.

`--texts 0.1` takes a tenth of the texts of the suite's tables: a token takes milliseconds at these
widths, and how memory grows with d_sae is no matter of their number. Below a tenth, tasks have too
few texts of a label.

The model is the bundled one, which is 128 wide. `--d-in 256` takes it twice side by side, which
predicts the same; for any other width it is a random one of its shape, of which families that ask
what a model knows (ravel, unlearning, principled) find nothing to measure.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from pytest_sae import bundled_world
from pytest_sae.data.tasks import Sizes
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families.registry import cards
from pytest_sae.options import Options
from pytest_sae.session.session import EvalSession

HOOK, D, K = "layers.2", 128, 32
LIMIT = 1.1
FAMILIES = [card.name for card in cards() if not card.judged and not card.of_judge]


def main() -> None:
    """Measure each width, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    widths = [8192, 32768, 131072, 262144]
    parser.add_argument("--widths", type=int, nargs="+", default=widths, help="latents")
    parser.add_argument("--d-in", type=int, default=D, help="how wide the activations are")
    parser.add_argument("--texts", type=float, default=1.0, help="share of the suite's texts")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="which to measure")
    parser.add_argument("--one", nargs=3, metavar="PATH", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        model, dictionary, cache = arguments.one
        measure(model, dictionary, cache, arguments.families, arguments.texts)
    else:
        compare(arguments.widths, arguments.d_in, arguments.families, arguments.texts)


def compare(widths: list[int], d_in: int, families: list[str], share: float) -> None:
    """Measure each width in a process of its own and print what it took.

    Args:
        widths: ascending numbers of latents.
        d_in: of the model.
        families: names.
        share: of the suite's texts.
    """
    seconds: dict[int, dict[str, float]] = {}
    peaks: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        model, cache = model_of(d_in, Path(directory, "model")), Path(directory, "cache")
        for width in widths:
            dictionary = write(Path(directory, str(width)), width, d_in)
            one = ["--one", str(model), str(dictionary), str(cache), "--families", *families]
            one += ["--texts", str(share)]
            command = [sys.executable, "-m", "benchmarks.width", *one]
            if not seconds and len(widths) > 1:  # fills the cache
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds[width], peaks[width] = json.loads(done.stdout.splitlines()[-1])
            print(width, seconds[width], peaks[width], file=sys.stderr, flush=True)
    table("CPU seconds", seconds, widths, growing=True)
    table("GiB", peaks, widths, growing=False)


def model_of(d_in: int, directory: Path) -> Path:
    """Return a model whose stream is so wide: the bundled one, twice of it, or a random one.

    Args:
        d_in: width of the stream.
        directory: that it is written to, where it is not the bundled one itself.
    """
    bundled = bundled_world() / "model"
    if d_in == D:
        return bundled
    shutil.copytree(bundled, directory, ignore=shutil.ignore_patterns("model.safetensors"))
    config = LlamaConfig.from_pretrained(bundled)
    config.hidden_size, config.dtype = d_in, torch.float32
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    if d_in == 2 * D:
        model.load_state_dict(doubled(bundled))
    model.save_pretrained(directory)
    return directory


def doubled(bundled: Path) -> dict[str, Tensor]:
    """Return the bundled model's weights with its stream twice side by side.

    The norms see the same mean square; what reads the stream reads the mean of both halves.

    Args:
        bundled: directory of the model.
    """
    small = AutoModelForCausalLM.from_pretrained(bundled, dtype=torch.float32).state_dict()
    wide = {}
    for name, weight in small.items():
        if "norm" in name or name.endswith(("o_proj.weight", "down_proj.weight")):
            wide[name] = torch.cat([weight, weight])
        elif "embed_tokens" in name:
            wide[name] = torch.cat([weight, weight], 1)
        else:
            wide[name] = torch.cat([weight, weight], 1) / 2
    return wide


def write(directory: Path, width: int, d_in: int = D, seed: int = 0) -> Path:
    """Write a random dictionary and return its path.

    Args:
        directory: of the dictionary's model site.
        width: latents.
        d_in: of each.
        seed: of the weights.
    """
    inside = directory / HOOK
    inside.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(width, d_in, generator=generator), dim=1)
    tensors = {"encoder.weight": rows, "encoder.bias": torch.zeros(width)}
    tensors |= {"W_dec": rows.clone(), "b_dec": torch.zeros(d_in)}
    save_file(tensors, inside / "sae.safetensors")
    config = {"activation": "topk", "k": K, "d_in": d_in, "num_latents": width}
    (inside / "cfg.json").write_text(json.dumps(config))
    return inside


def measure(model: str, dictionary: str, cache: str, families: list[str], share: float) -> None:
    """Measure the families on one dictionary; print seconds and GiB of each as JSON.

    Args:
        model: its directory.
        dictionary: its directory.
        cache: directory of the activations.
        families: names.
        share: of the suite's texts.
    """
    torch.set_num_threads(1)
    session = EvalSession(options(cache))
    session.suite = replace(session.suite, sizes=fewer(session.suite.sizes, share))
    started = time.process_time()
    sae = session.load(resolve([f"model={model}:{dictionary}"])[0])
    seconds, peaks = {"load": time.process_time() - started}, {"load": peak()}
    for family in families:
        started = time.process_time()
        session.measure(family, sae)
        seconds[family], peaks[family] = time.process_time() - started, peak()
        print(family, seconds[family], peaks[family], file=sys.stderr, flush=True)
    rounded = [{name: round(each, 2) for name, each in of.items()} for of in (seconds, peaks)]
    print(json.dumps(rounded))


def fewer(sizes: Sizes, share: float) -> Sizes:
    """Return sizes of tables with a share of the texts.

    Args:
        sizes: of the suite.
        share: up to 1.
    """
    names = ("corpus_texts", "train_per_cell", "test_per_cell", "train_per_class", "test_per_class")
    given = {name: getattr(sizes, name) for name in names}
    return replace(sizes, **{name: math.ceil(each * share) for name, each in given.items()})


def peak() -> float:
    """Return the GiB that this process held at most since it was last asked (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    most = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(most) / 2**20


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


def table(what: str, found: dict[int, dict[str, float]], widths: list[int], growing: bool) -> None:
    """Print what each width took, and how it grows.

    Args:
        what: the figures are.
        found: by width, figures by family.
        widths: ascending.
        growing: whether the exponent is asked for.
    """
    first, last = widths[0], widths[-1]
    growing = growing and last > first
    heads = [f"{width:,}" for width in widths] + ["exponent"] * growing
    print(f"| {what} |", " | ".join(heads), "|")
    print("|---|" + "---|" * len(heads))
    for name in found[first]:
        row = [found[width][name] for width in widths]
        cells = [f"{each:.2f}" for each in row]
        if growing:
            growth = math.log(max(row[-1], 0.01) / max(row[0], 0.01)) / math.log(last / first)
            cells.append(f"{growth:.2f}" + f" (limit {LIMIT})" * (growth > LIMIT))
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
