"""The published packages against this one, on the same inputs, in one run.

    python -m benchmarks.peers [--train 400] [--test 100] [--context 64] [--rows 1024] ...

Needs the extra `peers`. Random token activations of texts of uneven length, a random TopK SAE,
the same probes for both. Each part prints what the published function takes, what this package
takes for the same number, their ratio, and the limit: one encode of the distinct valid tokens, or
for meta-structure one product of all rows with all meta-latents. The published part is timed over
a share of its cells (ablated class and n) where all of them would take too long, and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.erasure import RandomDictionary
from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.pooled import Pooled, pool
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.metrics import core, scr, tpp
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.metrics.meta_structure import WIDTH, meta_structure
from pytest_sae.models.tokenize import Batch
from pytest_sae.probes import LinearProbes, ProbeSets

NS = (2, 5, 10, 20, 50, 100, 500)
BATCH = 50  # texts that the published code encodes at once


@dataclass(frozen=True)
class Timed:
    """One line of the table, in seconds.

    Args:
        name: of the metric.
        published: of the published functions; CPU time, as all.
        ours: of this package.
        limit: of the least work that any program must do.
        share: of the published cells that were timed; `published` is scaled to all.
    """

    name: str
    published: float
    ours: float
    limit: float
    share: float = 1.0

    def line(self) -> str:
        """As a row of a Markdown table."""
        told = f" (from {self.share:.0%} of its cells)" if self.share < 1 else ""
        return (
            f"| {self.name} | {self.published:.2f} s{told} | {self.ours:.3f} s | "
            f"{self.published / self.ours:.0f} x | {self.limit:.3f} s | "
            f"{self.ours / self.limit:.2f} |"
        )


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the median CPU time of a call; what it prints is swallowed.

    Other work on the machine moves it less than a wall clock.
    """
    found = []
    for _ in range(repeats):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            start = time.process_time()
            work()
            found.append(time.process_time() - start)
    return median(found)


@dataclass(frozen=True)
class World:
    """Texts of both splits, and a dictionary, in both packages' forms."""

    dictionary: RandomDictionary
    theirs: SimpleNamespace
    train: Tensor
    test: Tensor
    lengths: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, options: argparse.Namespace) -> World:
        """Draw everything from one seed."""
        g = torch.Generator().manual_seed(0)
        dictionary = RandomDictionary(options.d_in, options.d_sae, options.k, None, 0)
        texts, lengths = [], []
        for count in (options.train, options.test):
            length = torch.randint(options.context // 3, options.context + 1, (count,), generator=g)
            x = torch.randn(count, options.context, options.d_in, generator=g)
            x += torch.randn(count, 1, options.d_in, generator=g)
            texts.append(x * (torch.arange(options.context) < length[:, None])[..., None])
            lengths.append(length)
        theirs = SimpleNamespace(
            encode=lambda x: dictionary.encode(x.flatten(0, -2)).unflatten(0, x.shape[:-1]),
            decode=dictionary.decode,
            W_dec=dictionary.rows,
            cfg=SimpleNamespace(hook_name="x", hook_head_index=None, hook_layer=0,
                                d_sae=options.d_sae),
            device=torch.device("cpu"),
        )  # fmt: skip
        return cls(dictionary, theirs, texts[0], texts[1], (lengths[0], lengths[1]))

    def batches(self, split: int) -> list[ActivationBatch]:
        """Texts of similar length together, padded to their longest."""
        x, length = (self.train, self.test)[split], self.lengths[split]
        found = []
        for rows in length.argsort(stable=True).split(32):
            valid = torch.arange(int(length[rows].max())) < length[rows][:, None]
            part = x[rows, : valid.shape[1]].contiguous()
            batch = Batch(torch.zeros_like(valid, dtype=torch.long), valid, valid, rows)
            found.append(ActivationBatch(batch, part))
        return found

    def pooled(self) -> list[Pooled]:
        """What this package keeps of both splits, in one encode."""
        sizes = (len(self.train), len(self.test))
        return [pool(self.batches(split), self.dictionary, sizes[split]) for split in (0, 1)]

    def encode(self, splits: Sequence[int]) -> None:
        """Encode every distinct valid token once, and do nothing else."""
        for part in (part for split in splits for part in self.batches(split)):
            for x in part.x_valid.split(chunk_tokens(self.dictionary)):
                self.dictionary.encode(x)

    def encode_all(self) -> None:
        """The limit of SCR and TPP."""
        self.encode((0, 1))

    def encode_train(self) -> None:
        """The limit of core."""
        self.encode((0,))


def probe_of(weight: np.ndarray[Any, Any], bias: float) -> Any:
    """Return the published package's probe with given weights."""
    from sae_bench.evals.sparse_probing.probe_training import Probe

    probe = Probe(len(weight), torch.float32)
    probe.net.weight.data = torch.from_numpy(weight)[None].float()
    probe.net.bias.data = torch.tensor([bias], dtype=torch.float32)
    return probe


def random_probes(world: World, count: int) -> ProbeSets:
    """The same for both; what they read does not change what they cost."""
    drawn = np.random.default_rng(0).normal(size=(count, world.dictionary.d_in))
    probes = LinearProbes(drawn.astype(np.float32), np.zeros(count, np.float32))
    return ProbeSets(probes, (probes,))


def compare_tpp(world: World, classes: int, cells: int) -> Timed:
    """TPP of one dataset: effects, ablations of every class at every n, accuracies."""
    from sae_bench.evals.scr_and_tpp import main

    labels = [np.arange(len(x)) % classes for x in (world.train, world.test)]
    names, sets = [str(c) for c in range(classes)], random_probes(world, classes)
    probes = {n: probe_of(w, 0.0) for n, w in zip(names, sets.published.weight, strict=True)}
    train, test = (
        {n: x[torch.from_numpy(own == int(n))] for n in names}
        for x, own in zip((world.train, world.test), labels, strict=True)
    )
    known: dict[str, Tensor] = {}

    def effects() -> None:
        known.update(
            main.get_all_node_effects_for_one_sae(world.theirs, probes, names, False, train, BATCH)
        )

    def ablate() -> None:
        some = list(NS[:cells])
        main.perform_feature_ablations(
            probes, world.theirs, BATCH, test, known, some, names[:1], 100, False
        )

    def ours() -> None:
        known, new = world.pooled()
        rows = world.dictionary.rows.numpy()
        removal = AffineRemoval(new.z, rows)
        tpp.score_task("t", names, sets, labels[0], known.z, labels[1], new.x, rows, removal, 0, NS)

    share = cells / (classes * len(NS))
    published = seconds(effects, 1) + seconds(ablate, 1) / share
    return Timed("tpp, one dataset", published, seconds(ours), seconds(world.encode_all), share)


def compare_scr(world: World, cells: int) -> Timed:
    """SCR of one task: effects and ablations of three concepts at every n, on six text lists."""
    from sae_bench.evals.scr_and_tpp import main
    from sae_bench.sae_bench_utils.dataset_info import PAIRED_CLASS_KEYS

    names, sets = list(PAIRED_CLASS_KEYS), random_probes(world, 3)
    probes = {n: probe_of(w, 0.0) for n, w in zip(names, sets.published.weight, strict=True)}
    quadrants = [cells_of(len(x)) for x in (world.train, world.test)]
    train, test = (
        six_lists(x, each) for x, each in zip((world.train, world.test), quadrants, strict=True)
    )
    known: dict[str, Tensor] = {}

    def effects() -> None:
        known.update(
            main.get_all_node_effects_for_one_sae(world.theirs, probes, names, True, train, BATCH)
        )

    def ablate() -> None:
        some = list(NS[:cells])
        main.perform_feature_ablations(
            probes, world.theirs, BATCH, test, known, some, names[:1], 100, True
        )

    def ours() -> None:
        before, after = world.pooled()
        rows = world.dictionary.rows.numpy()
        removal = AffineRemoval(after.z, rows)
        first, second = quadrants
        scr.score_task("t", sets, first, before.z, second, after.x, rows, removal, NS)

    share = cells / (len(names) * len(NS))
    published = seconds(effects, 1) + seconds(ablate, 1) / share
    return Timed("scr, one task", published, seconds(ours), seconds(world.encode_all), share)


def cells_of(texts: int) -> scr.Quadrants:
    """Balanced labels of both concepts."""
    intended, spurious = np.divmod(np.arange(texts) % 4, 2)
    return scr.Quadrants(intended.astype(bool), spurious.astype(bool))


def six_lists(x: Tensor, labels: scr.Quadrants) -> dict[str, Tensor]:
    """The published text lists: each text stands in two of the first four."""
    chosen = {
        "professor / nurse": labels.intended,
        "nurse_data_only": ~labels.intended,
        "male / female": labels.spurious,
        "female_data_only": ~labels.spurious,
        "male_professor / female_nurse": labels.intended & labels.spurious,
        "female_nurse_data_only": ~labels.intended & ~labels.spurious,
    }
    return {name: x[torch.from_numpy(places)] for name, places in chosen.items()}


def compare_core(world: World) -> Timed:
    """Reconstruction and sparsity over the training texts, activations given to both."""
    from sae_bench.evals.core import main

    x = world.train
    ids = torch.where(torch.arange(x.shape[1]) < world.lengths[0][:, None], 1, 0)

    def published() -> None:
        tokens: Iterator[Tensor] = iter(ids.split(16))
        shown: Iterator[Tensor] = iter(x.split(16))
        model = SimpleNamespace(run_with_cache=lambda tokens, **_: (None, {"x": next(shown)}))
        store = SimpleNamespace(get_batch_tokens=lambda size: next(tokens))
        main.get_sparsity_and_variance_metrics(
            world.theirs, model, store, len(ids.split(16)), True, True, True, True, 16, {}, {0}
        )

    def ours() -> None:
        size = (world.dictionary.d_in, world.dictionary.d_sae)
        sums = core.CoreSums(len(x), *size)
        for part in world.batches(0):
            for tokens, rows in zip(
                part.x_valid.split(chunk_tokens(world.dictionary)),
                part.batch.rows[part.text_of_token].split(chunk_tokens(world.dictionary)),
                strict=True,
            ):
                z = world.dictionary.encode(tokens)
                sums.update(tokens, world.dictionary.decode(z), z, rows)
        core.finish(sums, 0)

    return Timed(
        "core, without splicing", seconds(published), seconds(ours), seconds(world.encode_train)
    )


def compare_meta(rows: int, d: int, steps: int) -> Timed:
    """Meta-structure of random decoder rows."""
    from sae_bench.evals.meta_structure import main
    from sae_bench.evals.meta_structure.eval_config import MetaStructureEvalConfig

    drawn = torch.randn(rows, d, generator=torch.Generator().manual_seed(0))
    drawn = torch.nn.functional.normalize(drawn)
    config = MetaStructureEvalConfig(autocast=False)
    share = steps / config.train_steps
    config.train_steps = steps
    published = seconds(
        lambda: main._train_meta_structure_on_decoder(drawn, rows // WIDTH, config, "cpu"), 1
    )
    ours = seconds(lambda: meta_structure(drawn, 0))
    limit = seconds(lambda: drawn @ drawn[: rows // WIDTH].T)
    return Timed(f"meta_structure, {rows} rows", published / share, ours, limit, share)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--d-in", type=int, default=256)
    parser.add_argument("--d-sae", type=int, default=2048)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--cells", type=int, default=1, help="of one class that are timed")
    parser.add_argument("--steps", type=int, default=50, help="of the published meta-SAE")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        world = World.of(options)
        tokens = int(sum(each.sum() for each in world.lengths))
        print(
            f"{options.train} + {options.test} texts, {tokens} valid tokens of context "
            f"{options.context}, TopK, d_in {options.d_in}, d_sae {options.d_sae}, "
            f"k {options.k}, {options.threads} threads\n"
        )
        print("| metric | published | here | ratio | limit | here over limit |")
        print("|---|---|---|---|---|---|")
        print(compare_core(world).line())
        print(compare_scr(world, options.cells).line())
        print(compare_tpp(world, options.classes, options.cells).line())
    print(compare_meta(options.d_sae, options.d_in, options.steps).line())


if __name__ == "__main__":
    main()
