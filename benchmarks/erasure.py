"""TPP by cumulative sums against the explicit algorithm, and against the time of one encode.

    python benchmarks/erasure.py [--train 2000] [--test 500] [--d-sae 1024] [--repeats 5] ...

On the same synthetic token activations (texts of uneven length, a random dictionary whose
latents tell the classes apart), in one process:

(a) explicit: for every ablated class, every n and every evaluated class, encode the test texts,
    decode with and without the set, pool, read the probe; for the effects, encode the training
    texts for every class. Texts are padded to the context, as the published package does, and
    masked when pooled, as it does not. By default each probe is read on every test text, as `tpp`
    does (balanced accuracy); with --texts=published on its own class' texts and as many others, as
    `tpp.canonical` does, which makes (a) about 2.5 times cheaper.
(b) ours: one encode of the distinct valid tokens, pooled; effects, cumulative sums, accuracies.
(c) the limit: one encode of the distinct valid tokens, summed per text. Nothing else.

All three encode with the same function, in pieces of the same number of tokens. The parts alternate
and medians are taken, because other work on the machine slows them at random. Probes are fitted
once, outside; batched fitting is compared with torch's AdamW over one probe after the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.pooled import pool
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.metrics import class_probes, tpp, tpp_estimates
from pytest_sae.metrics.ablation import AffineRemoval, mean_difference, order, written
from pytest_sae.metrics.protocol import CONTEXT, NS
from pytest_sae.models.tokenize import Batch
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.probes import PUBLISHED, LinearProbes, fit_published, schedule

TASK = "benchmark"
FASTER_THAN_EXPLICIT, TIMES_THE_LIMIT, FASTER_PROBES = 100, 1.2, 20


class RandomDictionary:
    """A random TopK or JumpReLU dictionary with unit decoder rows, tied encoder.

    Choosing the k largest costs as much as the matrix product before it, for which nobody has an
    answer; a JumpReLU encodes without, and then decoding weighs more beside it.
    """

    def __init__(self, d_in: int, d_sae: int, k: int, threshold: float | None, seed: int) -> None:
        rows = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
        self.rows = torch.nn.functional.normalize(rows)
        self.transposed, self.bias, self.k = self.rows.T.contiguous(), torch.zeros(d_sae), k
        self.info = DictionaryInfo("random", "benchmark", None, None, None, k=k)
        self.fingerprint, self.d_in, self.d_out, self.d_sae = "benchmark", d_in, d_in, d_sae
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.threshold = threshold
        self.decoder_rows, self.encoder_rows = self.rows, self.rows

    def encode(self, x: Tensor) -> Tensor:
        before = torch.addmm(self.bias, x, self.transposed)
        if self.threshold is not None:
            return before.mul_(before > self.threshold)
        values, latents = before.topk(self.k, sorted=False)
        return x.new_zeros(len(x), self.d_sae).scatter_(1, latents, values.relu_())

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.rows

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        return z[:, latents] @ self.rows[latents]

    def const(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Texts:
    """Token activations of one split.

    Args:
        x: (text, context, d_in), zero at padding.
        valid: (text, context) bool.
        labels: (text,) class.
    """

    x: Tensor
    valid: Tensor
    labels: NDArray[np.int64]

    def batches(self, tokens: int) -> list[ActivationBatch]:
        """Batches of texts of similar length, padded to their longest, as the product does."""
        lengths = self.valid.sum(1)
        rows, found = lengths.argsort(stable=True), []
        for part in rows.split(max(1, tokens // self.x.shape[1])):
            longest = int(lengths[part].max())
            valid = self.valid[part, :longest]
            batch = Batch(torch.zeros_like(valid, dtype=torch.long), valid, valid, part)
            found.append(ActivationBatch(batch, self.x[part, :longest].contiguous()))
        return found


def texts_of(
    count: int, options: argparse.Namespace, dictionary: RandomDictionary, seed: int
) -> Texts:
    """Sparse sums of decoder rows; each class prefers forty latents of its own."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % options.classes
    lengths = torch.randint(48, CONTEXT + 1, (count,), generator=g)
    valid = torch.arange(CONTEXT) < lengths[:, None]
    x = torch.randn(count, CONTEXT, options.d_in, generator=g) * 0.05
    for text, label in enumerate(labels.tolist()):
        chances = torch.full((options.d_sae,), 1.0)
        chances[40 * label : 40 * (label + 1)] = 1.15
        active = chances.multinomial(CONTEXT * options.k, True, generator=g).view(CONTEXT, -1)
        x[text] += dictionary.rows[active].sum(1)
    return Texts(x * valid[..., None], valid, labels.numpy())


@dataclass(frozen=True)
class World:
    """What all three algorithms are given."""

    dictionary: RandomDictionary
    train: Texts
    test: Texts
    probes: LinearProbes
    classes: int
    published_texts: bool

    def shares(self, texts: Texts) -> NDArray[np.float64]:
        """(class, text) weight of each text in each class' figures; 0 leaves it out."""
        if self.published_texts:
            chosen = class_probes.members(
                texts.labels, self.classes, generator(0, "tpp", TASK, "texts")
            )
            shares: NDArray[np.float64] = chosen / chosen.sum(1, keepdims=True)
            return shares
        return class_probes.balanced(texts.labels, self.classes)

    @property
    def cells(self) -> list[tuple[int, int, int]]:
        """(ablated class, place of n, evaluated class)."""
        return list(product(range(self.classes), range(len(NS)), range(self.classes)))


def explicit_orders(world: World) -> list[NDArray[np.int64]]:
    """Encode the training texts for every class, and rank the latents by effect."""
    reads = written(world.dictionary.rows.numpy(), world.probes.weight)
    orders = []
    for c, shares in enumerate(world.shares(world.train)):
        signed = np.where(world.train.labels == c, 2 * shares, -2 * shares)
        contrast = torch.zeros(world.dictionary.d_sae, dtype=torch.float64)
        for rows, part in padded(world, world.train, np.flatnonzero(shares)):
            z = world.dictionary.encode(part.x.flatten(0, 1)).view(*part.valid.shape, -1)
            means = (z * part.valid[..., None]).sum(1) / part.valid.sum(1, keepdim=True)
            contrast += torch.as_tensor(signed[rows]) @ means.double()
        orders.append(order(np.maximum(0, contrast.numpy()) * reads[:, c], max(NS)))
    return orders


def explicit_accuracy(
    world: World, orders: list[NDArray[np.int64]], cell: tuple[int, int, int]
) -> float:
    """Encode, decode with and without the set, and read one probe."""
    ablated, place, evaluated = cell
    latents = torch.as_tensor(orders[ablated][: NS[place]])
    shares = world.shares(world.test)[evaluated]
    weight = torch.as_tensor(world.probes.weight[evaluated])
    bias, accuracy = float(world.probes.bias[evaluated]), 0.0
    for rows, part in padded(world, world.test, np.flatnonzero(shares)):
        x = part.x.flatten(0, 1)
        z = world.dictionary.encode(x)
        error = x - world.dictionary.decode(z)
        z[:, latents] = 0.0
        changed = (world.dictionary.decode(z) + error).view(part.x.shape)
        means = (changed * part.valid[..., None]).sum(1) / part.valid.sum(1, keepdim=True)
        right = (((means @ weight) + bias) > 0).numpy() == (part.labels == evaluated)
        accuracy += float((right * shares[rows]).sum())
    return accuracy


def padded(
    world: World, texts: Texts, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Texts]]:
    """Yield some of the texts, padded to the context, as many tokens at once as ours."""
    size = max(1, chunk_tokens(world.dictionary) // CONTEXT)
    for part in torch.as_tensor(rows).split(size):
        yield part.numpy(), Texts(texts.x[part], texts.valid[part], texts.labels[part.numpy()])


Batches = dict[str, list[ActivationBatch]]


def ours(world: World, batches: Batches) -> NDArray[np.float64]:
    """One encode, then sums: accuracies (ablated, n, evaluated)."""
    train = pool(batches["train"], world.dictionary, len(world.train.labels))
    test = pool(batches["test"], world.dictionary, len(world.test.labels))
    decoder = world.dictionary.rows.numpy()
    reads = written(decoder, world.probes.weight)
    orders = []
    for c, shares in enumerate(world.shares(world.train)):
        mine = world.train.labels == c
        contrast = mean_difference(train.z, mine * shares, ~mine * shares)
        orders.append(order(np.maximum(0, contrast) * reads[:, c], max(NS)))
    removed = AffineRemoval(test.z, decoder).logits(orders, NS, world.probes.weight)
    logits = world.probes.logits(test.x).T - removed
    right = (logits > 0) == class_probes.one_versus_rest(world.test.labels, world.classes).T
    accuracies: NDArray[np.float64] = np.einsum("cntk,kt->cnk", right, world.shares(world.test))
    return accuracies


def limit(world: World, batches: Batches) -> float:
    """Encode the distinct valid tokens and sum them per text."""
    total = 0.0
    size = chunk_tokens(world.dictionary)
    for part in (*batches["train"], *batches["test"]):
        sums = torch.zeros(len(part.batch.rows), world.dictionary.d_sae)
        tokens, texts = part.x_valid.split(size), part.text_of_token.split(size)
        for x, rows in zip(tokens, texts, strict=True):
            sums.index_add_(0, rows, world.dictionary.encode(x))
        total += float(sums[0, 0])
    return total


def one_after_the_other(x: NDArray[np.float32], world: World, epochs: int) -> None:
    """One probe as the published package fits it: nn.Linear, AdamW, batches of 16."""
    chosen = class_probes.members(
        world.train.labels, world.classes, generator(0, "tpp", TASK, "train")
    )
    members = np.flatnonzero(chosen[0])
    plan = schedule(members, x.shape[1], PUBLISHED, generator(0, "sequential"))
    inputs = torch.as_tensor(x)
    targets = torch.as_tensor((world.train.labels == 0).astype(np.float32))
    probe = torch.nn.Linear(x.shape[1], 1)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=PUBLISHED.lr)
    for epoch in torch.as_tensor(plan.order[:epochs]):
        for batch in epoch.split(PUBLISHED.batch):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                probe(inputs[batch])[:, 0], targets[batch]
            )
            optimiser.zero_grad()
            (loss + PUBLISHED.l1 * probe.weight.abs().sum()).backward()
            optimiser.step()
        with torch.no_grad():
            ((probe(inputs[plan.validation])[:, 0] > 0) == targets[plan.validation]).float().mean()


def together(x: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> LinearProbes:
    """All probes of the task at once, as the product fits them."""
    chosen = class_probes.members(labels, classes, generator(0, "tpp", TASK, "train"))
    rngs = [generator(0, "tpp", TASK, str(c)) for c in range(classes)]
    targets = class_probes.one_versus_rest(labels, classes)
    return fit_published(x, targets, [np.flatnonzero(row) for row in chosen], rngs)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Stopwatch:
    """Wall time, or the process' own time: steadier where others use the machine too."""

    clock: Callable[[], float]

    def seconds(self, work: Callable[[], object]) -> float:
        start = self.clock()
        work()
        return self.clock() - start


def compare_probes(
    x: NDArray[np.float32], world: World, watch: Stopwatch, repeats: int, epochs: int
) -> None:
    batched, single = [], []
    for _ in range(repeats):
        batched.append(watch.seconds(lambda: together(x, world.train.labels, world.classes)))
        single.append(watch.seconds(lambda: one_after_the_other(x, world, epochs)))
    scaled = median(single) * PUBLISHED.epochs / epochs * world.classes
    print(
        f"{world.classes} probes: batched {median(batched):.2f} s, one after the other "
        f"{scaled:.1f} s ({epochs} of {PUBLISHED.epochs} epochs of one probe measured, scaled): "
        f"{scaled / median(batched):.0f}x faster (goal {FASTER_PROBES}x)"
    )


def compare_erasure(world: World, watch: Stopwatch, repeats: int, share: float) -> None:
    batches = {"train": world.train.batches(4096), "test": world.test.batches(4096)}
    cells = world.cells[:: round(1 / share)]
    accuracies = ours(world, batches)  # warm
    limit(world, batches)
    orders: list[NDArray[np.int64]] = []
    effects = watch.seconds(lambda: orders.extend(explicit_orders(world)))
    found: dict[tuple[int, int, int], float] = {}

    def measure(cell: tuple[int, int, int]) -> None:
        found[cell] = explicit_accuracy(world, orders, cell)

    fast, bare, in_cells = [], [], []
    for turn in range(repeats):
        fast.append(watch.seconds(lambda: ours(world, batches)))
        bare.append(watch.seconds(lambda: limit(world, batches)))
        in_cells += [watch.seconds(lambda c=cell: measure(c)) for cell in cells[turn::repeats]]  # type: ignore[misc]
    explicit = effects + median(in_cells) * len(world.cells)
    print(
        f"(a) explicit {explicit:.1f} s (effects, and {len(world.cells)} times the median of "
        f"{len(cells)} measured cells)"
    )
    print(f"(b) ours {median(fast):.2f} s, (c) limit {median(bare):.2f} s")
    report(explicit, fast, bare)
    report_accuracies(accuracies, found)


def report(explicit: float, fast: list[float], bare: list[float]) -> None:
    times_limit = median(a / b for a, b in zip(fast, bare, strict=True))
    faster = explicit / median(fast)
    print(f"ours against explicit: {faster:.0f}x faster (goal {FASTER_THAN_EXPLICIT}x)")
    print(f"ours against the limit: {times_limit:.2f}x its time (goal {TIMES_THE_LIMIT}x)")


def report_accuracies(
    accuracies: NDArray[np.float64], found: dict[tuple[int, int, int], float]
) -> None:
    gaps = [abs(accuracies[cell] - value) for cell, value in found.items()]
    differing = [gap for gap in gaps if gap > 1e-9]
    print(f"accuracies that differ between (a) and (b): {len(differing)} of {len(found)}")
    if differing:
        print(f"  by at most {max(differing):.4f}: logits that are zero to float32's last digits")


def with_intervals(world: World, watch: Stopwatch) -> None:
    """What the whole metric costs beyond the encode: three variants, fits, intervals."""
    train = pool(world.train.batches(4096), world.dictionary, len(world.train.labels))
    test = pool(world.test.batches(4096), world.dictionary, len(world.test.labels))
    names, decoder = [str(c) for c in range(world.classes)], world.dictionary.rows.numpy()
    labels = world.train.labels, world.test.labels
    sets = class_probes.fit_probes(TASK, train.x, labels[0], world.classes, 0)

    def measure() -> None:
        removal = AffineRemoval(test.z, decoder)
        task = tpp.score_task(
            TASK, names, sets, labels[0], train.z, labels[1], test.x, decoder, removal, 0
        )
        tpp_estimates.estimates([task], 0)

    spent = median(watch.seconds(measure) for _ in range(3))
    print(
        f"the whole metric from pooled arrays (6 probe sets, 3 variants, intervals): {spent:.2f} s"
    )


def world_of(options: argparse.Namespace) -> tuple[World, NDArray[np.float32]]:
    threshold = None if options.activation == "topk" else options.threshold
    dictionary = RandomDictionary(options.d_in, options.d_sae, options.k, threshold, seed=0)
    train, test = (
        texts_of(count, options, dictionary, seed)
        for seed, count in ((1, options.train), (2, options.test))
    )
    x = pool(train.batches(4096), None, options.train).x
    probes = together(x, train.labels, options.classes)
    published = options.texts == "published"
    return World(dictionary, train, test, probes, options.classes, published), x


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=int, default=2000, help="training texts, all classes")
    parser.add_argument("--test", type=int, default=500, help="test texts, all classes")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--d-in", type=int, default=256)
    parser.add_argument("--d-sae", type=int, default=1024)
    parser.add_argument("--k", type=int, default=32, help="active latents per token")
    parser.add_argument("--activation", choices=["topk", "jumprelu"], default="topk")
    parser.add_argument("--threshold", type=float, default=0.5, help="of the JumpReLU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="share of (a)'s cells to measure")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the sequential fit")
    parser.add_argument("--texts", choices=["all", "published"], default="all")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    world, x = world_of(options)
    tokens = int(world.train.valid.sum() + world.test.valid.sum())
    print(
        f"{options.train} + {options.test} texts, {tokens} valid tokens of context {CONTEXT}, "
        f"{options.activation}, d_in {options.d_in}, d_sae {options.d_sae}, k {options.k}, "
        f"{options.classes} classes, "
        f"n {NS}, {torch.get_num_threads()} threads"
    )
    watch = Stopwatch(CLOCKS[options.clock])
    compare_probes(x, world, watch, options.repeats, options.epochs)
    with torch.inference_mode():
        compare_erasure(world, watch, options.repeats, options.share)
        with_intervals(world, watch)


if __name__ == "__main__":
    main()
