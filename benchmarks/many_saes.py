"""What the 2nd to the last of many SAEs cost in one session, beside a bare encode of their texts.

    python -m benchmarks.many_saes [--saes 20] [--latents 4096] [--families scr tpp core ...]

Random dictionaries (TopK, encoder and decoder tied) of the bundled model are written as sparsify
writes them and measured one after the other in one session, on one thread, at the size `smoke` and
without controls. Printed are CPU seconds by family: of the first SAE, which makes what all of them
read; the median of the others; and the ratio of that to a bare encode of the family's texts: one
product, one selection for each distinct valid token, nothing kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.width import options, write
from pytest_sae import bundled_world
from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.session.loaded import LoadedSAE
from pytest_sae.session.session import EvalSession

_EVERY = 4  # SAEs for one bare encode, between them, so that a busy machine slows both
_TOGETHER = ("scr", "tpp", "core")


def main() -> None:
    """Measure the SAEs and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--saes", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--latents", type=int, default=4096, help="of each (%(default)s)")
    parser.add_argument("--families", nargs="+", default=_TOGETHER, help="in their order")
    parser.add_argument("--suite", default="smoke", help="sizes (%(default)s)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        made = replace(options(str(Path(directory, "cache"))), suite=asked.suite)
        session = EvalSession(made)
        taken = []
        for seed in range(asked.saes):
            path = write(Path(directory, str(seed)), asked.latents, seed=seed)
            taken.append(seconds(session, path, asked.families, bare=seed % _EVERY == 0))
        session.close()
    table(taken, asked.families)


def seconds(
    session: EvalSession, path: Path, families: Sequence[str], bare: bool
) -> dict[str, float]:
    """Return the CPU seconds of each family on one SAE, and of a bare encode of their texts.

    Args:
        session: of all SAEs.
        path: of the dictionary.
        families: names.
        bare: whether the encode is timed too.
    """
    taken: dict[str, float] = {}
    started = time.process_time()
    spec = f"seed_{path.parent.name}@model={bundled_world() / 'model'}:{path}"
    sae = session.load(resolve([spec])[0])
    taken["load"] = time.process_time() - started
    for family in families:
        started = time.process_time()
        session.measure(family, sae)
        taken[family] = time.process_time() - started
    inputs = [*valid(session, sae)] if bare else []
    started = time.process_time()
    with torch.no_grad():
        for x in inputs:
            sae.dictionary.encode(x)
    if bare:
        taken["encode"] = time.process_time() - started
    session.release(sae)
    return taken


def valid(session: EvalSession, sae: LoadedSAE) -> Iterator[Tensor]:
    """Give what the SAE reads at each valid token of the texts of SCR and TPP and of the corpus.

    Args:
        session: whose texts they are.
        sae: that reads them.
    """
    corpus = session.tasks.corpus
    for texts in (erasure_texts(session.tasks), corpus.texts if corpus else ()):
        for part in session.latents(sae).tokens(texts):
            yield from part.x_valid.split(chunk_tokens(sae.dictionary))


def table(taken: Sequence[dict[str, float]], families: Sequence[str]) -> None:
    """Print what the first SAE took, and the others.

    Args:
        taken: by SAE, seconds by what they were spent on.
        families: names.
    """
    first, others = taken[0], taken[1:]
    encode = median(each["encode"] for each in taken if "encode" in each)
    print(f"| CPU seconds | 1st SAE | 2nd to {len(taken)}th, median | over a bare encode |")
    print("|---|---|---|---|")
    for name in ("load", *families):
        rest = median(each[name] for each in others)
        print(f"| {name} | {first[name]:.2f} | {rest:.2f} | {rest / encode:.2f} |")
    rest = median(sum(each[name] for name in families) for each in others)
    total = sum(first[name] for name in families)
    print(f"| all of these families | {total:.2f} | {rest:.2f} | {rest / encode:.2f} |")
    print(f"| a bare encode of their texts | | {encode:.2f} | 1 |")


if __name__ == "__main__":
    main()
