"""What erasure metrics take on dictionaries whose decoder is not affine, over one whose is.

    python -m benchmarks.non_affine [--d-sae 4096] [--repeats 3] [--kinds affine openai ...]

Random dictionaries of the bundled model, K latents a token, of one size and the same directions, in
one process on one thread, with activations and probes in the cache. CPU seconds are medians, each
kind measured in turn. The families stand in the order in which they are measured: the first encodes
and pools all texts, for all of them. The ratio is to the same family on the affine dictionary, and
marked where it is above the limit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch

from benchmarks import encode
from benchmarks.width import HOOK, D, options
from pytest_sae import bundled_world
from pytest_sae.dictionaries.formats.entry_points import register_format
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.session.session import EvalSession

if TYPE_CHECKING:
    from pytest_sae.dictionaries.base import Dictionary

LIMIT = 3.0
FAMILIES = ("tpp", "scr", "removal", "erasure")


@dataclass(frozen=True)
class Kind:
    """How a dictionary is written, and named to --sae.

    Args:
        write: puts its files into a directory, and returns the path to load.
        about: what of it is not affine.
        settings: what its files do not say: its family, and `key=value`.
    """

    write: Callable[[encode.Weights, Path], Path]
    about: str
    settings: tuple[str, ...] = ()


def constant_norm(w: encode.Weights, directory: Path) -> Path:
    """A TopK SAE of tokens that are scaled to one norm."""
    path = encode.sae_lens(w, directory)
    config = json.loads((directory / "cfg.json").read_text())
    config["normalize_activations"] = "constant_norm_rescale"
    (directory / "cfg.json").write_text(json.dumps(config))
    return path


def unknown(path: str, device: str, dtype: torch.dtype | None) -> object:
    """Load what nothing is known of but the protocol: how it decodes is its own affair."""
    of = load(path, device=torch.device(device), dtype=dtype, family="openai")
    names = ("info", "fingerprint", "d_in", "d_out", "d_sae", "device", "dtype", "encoder_rows")
    functions = ("encode", "reconstruct", "contribution", "const")
    given = {name: getattr(of, name) for name in (*names, *functions)}
    model = str(bundled_world() / "model")
    given["info"] = replace(of.info, model=model, hook_in=HOOK, hook_out=HOOK)
    return cast("Dictionary", SimpleNamespace(decoder_rows=None, **given))


KINDS = {
    "affine": Kind(encode.sparsify, "nothing"),
    "openai": Kind(encode.openai, "a layer norm of each token", ("openai",)),
    "constant_norm": Kind(constant_norm, "a norm of each token"),
    "pursuit": Kind(
        encode.overcomplete,
        f"nothing: its encoder takes {encode.K} steps",
        ("overcomplete", f"k={encode.K}"),
    ),
    "unknown": Kind(encode.openai, "a guest's format that tells no more than it must"),
}


def main() -> None:
    """Measure each kind in turn, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--d-sae", type=int, default=4096, help="latents of each")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    register_format("unknown", unknown)
    with tempfile.TemporaryDirectory() as directory:
        kinds = list(dict.fromkeys(["affine", *arguments.kinds]))
        specs = {kind: written(Path(directory), kind, arguments.d_sae) for kind in kinds}
        cache = str(Path(directory, "cache"))
        seconds(specs["affine"], cache)  # fills the cache
        taken = [
            {kind: seconds(specs[kind], cache) for kind in kinds} for _ in range(arguments.repeats)
        ]
    table(taken, kinds)


def written(directory: Path, kind: str, d_sae: int) -> str:
    """Write a dictionary of a kind, and return what names it.

    Args:
        directory: of all of them.
        kind: one of `KINDS`.
        d_sae: latents.
    """
    inside = directory / kind / HOOK
    inside.mkdir(parents=True)
    path = KINDS[kind].write(encode.random_weights(D, d_sae), inside)
    if kind == "unknown":
        return f"{kind}:{path}"
    said = [*KINDS[kind].settings, f"model={bundled_world() / 'model'}", f"site={HOOK}"]
    return f"{','.join(said)}:{path}"


def seconds(spec: str, cache: str) -> dict[str, float]:
    """Return the CPU seconds of each family on one dictionary.

    Args:
        spec: names it.
        cache: directory of the activations.
    """
    session = EvalSession(options(cache))
    sae = session.load(resolve([spec])[0])
    taken = {}
    for family in FAMILIES:
        started = time.process_time()
        session.measure(family, sae)
        taken[family] = time.process_time() - started
    return taken


def table(taken: Sequence[dict[str, dict[str, float]]], kinds: Sequence[str]) -> None:
    """Print medians and ratios.

    Args:
        taken: per repeat, by kind, seconds by family.
        kinds: in the order of the table.
    """
    medians = {
        kind: {family: median(each[kind][family] for each in taken) for family in FAMILIES}
        for kind in kinds
    }
    print("| dictionary | what is not affine |", " | ".join(FAMILIES), "|")
    print("|---|---|" + "---|" * len(FAMILIES))
    for kind in kinds:
        cells = [
            _cell(medians[kind][family], medians["affine"][family], kind == "affine")
            for family in FAMILIES
        ]
        print(f"| `{kind}` | {KINDS[kind].about} |", " | ".join(cells), "|")


def _cell(seconds: float, affine: float, itself: bool) -> str:
    if itself:
        return f"{seconds:.2f} s"
    ratio = seconds / max(affine, 0.01)
    over = f" (limit {LIMIT:g})" if ratio > LIMIT else ""
    return f"{seconds:.2f} s, {ratio:.1f} x{over}"


if __name__ == "__main__":
    main()
