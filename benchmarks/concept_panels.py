"""Dictionaries of a world: trained ones, the truth, and those that break metrics.

panel(world, cache) -> list[Code]           # `Code` is what a table needs of a dictionary
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.concept_worlds import Ints, Kind, KindWorld, Labelled
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.synthetic.worlds import Sample

Encode = Callable[[Tensor], Tensor]

STEPS = (1, 20, 100, 300, 1200)  # the first one is as before training
_BATCH, _RATE, _POOL = 256, 3e-3, 60_000
_PIECE = 4096


class Sampled(Protocol):
    """What a panel needs of a world; `KindWorld` has more."""

    spec: Kind

    @property
    def rows(self) -> Tensor:
        """(F, d) the true directions."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides it."""

    @property
    def asked(self) -> Ints:
        """Features that any task is about."""

    def sample(self, tokens: int, seed: int, purpose: str) -> Sample:
        """Draw tokens."""


@dataclass(frozen=True)
class Recipe:
    """How one is trained: `topk`, `batchtopk`, `relu` or `jumprelu`, its width, k or penalty."""

    architecture: str
    width: float  # in numbers of features
    k: float = 1.0  # in the world's k
    penalty: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """As tables call it."""
        size = f"p{self.penalty:g}" if self.penalty else f"k{self.k:g}"
        return f"{self.architecture}-{self.width:g}-{size}" + (f"-s{self.seed}" * bool(self.seed))


RECIPES = (
    Recipe("topk", 1.0),
    Recipe("topk", 1.0, seed=1),
    Recipe("topk", 0.5),
    Recipe("topk", 1.0, 3.0),
    Recipe("batchtopk", 1.5),
    Recipe("relu", 1.0, penalty=0.05),
    Recipe("relu", 1.5, penalty=0.2),
    Recipe("jumprelu", 1.0, penalty=0.06),
)
WRONG_K = RECIPES[3].name


@dataclass(frozen=True)
class Code:
    """A dictionary: `encode` of (token, d) to latents, `rows` (d_sae, d)."""

    name: str
    kind: str  # trained, oracle, control, attack
    encode: Callable[[Tensor], Tensor]
    rows: Tensor

    def pooled(self, texts: Labelled) -> Floats:
        """(text, d_sae) mean latents."""
        if self.name == "oracle":
            return texts.features.mean(1).double().numpy()
        with torch.no_grad():
            parts = [self.encode(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)
                     for x in texts.tokens.split(256)]  # fmt: skip
        return torch.cat(parts).double().numpy()


class _Rectangle(torch.autograd.Function):
    """A step whose gradient is that of a narrow rectangle around it."""

    @staticmethod
    def forward(ctx, x: Tensor, threshold: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, threshold)
        return (x > threshold).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        x, threshold = ctx.saved_tensors
        near = ((x - threshold).abs() < 0.05).to(x.dtype) / 0.1
        return grad * near, (-grad * near).sum(0)


class _Trainee:
    def __init__(self, recipe: Recipe, d_sae: int, k: int, x: Tensor) -> None:
        g = torch.Generator().manual_seed(recipe.seed)
        rows = normalize(torch.randn(d_sae, x.shape[1], generator=g))
        self.recipe, self.k = recipe, k
        self.parts = {
            "rows": rows.clone(), "reads": rows.clone(), "before": torch.zeros(d_sae),
            "bias": x.mean(0).clone(), "threshold": torch.full((d_sae,), 0.1),
        }  # fmt: skip
        for part in self.parts.values():
            part.requires_grad_()
        self.level = 0.0

    def active(self, x: Tensor, parts: dict[str, Tensor], level: float | None) -> Tensor:
        before = (x - parts["bias"]) @ parts["reads"].T + parts["before"]
        z = before.relu()
        if self.recipe.architecture == "topk":
            kept = z.topk(self.k, dim=1)
            return torch.zeros_like(z).scatter(1, kept.indices, kept.values)
        if self.recipe.architecture == "batchtopk":
            if level is None:
                level = float(z.detach().flatten().topk(self.k * len(x)).values[-1])
                self.level += 0.05 * (level - self.level)
            return z * (z >= level)
        if self.recipe.architecture == "jumprelu":
            gate: Tensor = _Rectangle.apply(z, parts["threshold"])  # type: ignore[no-untyped-call]
            return z * gate
        return z

    def loss(self, x: Tensor, warm: float) -> Tensor:
        z = self.active(x, self.parts, None)
        error = ((x - z @ self.parts["rows"] - self.parts["bias"]) ** 2).sum(1).mean()
        if self.recipe.architecture == "relu":
            return error + warm * self.recipe.penalty * z.sum(1).mean()
        if self.recipe.architecture == "jumprelu":
            count: Tensor = _Rectangle.apply(z, self.parts["threshold"])  # type: ignore[no-untyped-call]
            return error + warm * self.recipe.penalty * count.sum(1).mean()
        return error


def _train(world: Sampled, recipe: Recipe, steps: Sequence[int]) -> dict[str, Tensor]:
    x = world.sample(_POOL, world.spec.seed, "training").x
    d_sae, k = int(recipe.width * world.spec.features), round(recipe.k * world.spec.k)
    trainee = _Trainee(recipe, d_sae, k, x)
    adam = torch.optim.Adam(list(trainee.parts.values()), lr=_RATE)
    order = torch.Generator().manual_seed(recipe.seed)
    kept: dict[str, Tensor] = {}
    for step in range(1, steps[-1] + 1):
        for group in adam.param_groups:
            group["lr"] = _RATE * min(1.0, (steps[-1] - step + 1) / (0.2 * steps[-1]))
        chosen = torch.randint(len(x), (_BATCH,), generator=order)
        adam.zero_grad()
        trainee.loss(x[chosen], min(1.0, 5 * step / steps[-1])).backward()
        adam.step()
        with torch.no_grad():
            trainee.parts["rows"].copy_(normalize(trainee.parts["rows"]))
        if step in steps:
            kept |= {f"{step}.{n}": p.detach().clone() for n, p in trainee.parts.items()}
            kept[f"{step}.level"] = torch.tensor(trainee.level / (1 - 0.95**step))
    return kept


def trained(
    world: Sampled, cache: Path, recipes: Sequence[Recipe] = RECIPES, steps: Sequence[int] = STEPS
) -> Iterator[Code]:
    """Give every recipe at every step, trained once."""
    for recipe in recipes:
        for step, parts in _kept(world, cache, recipe, steps).items():
            yield _code(world, recipe, step, parts)


def recoded(
    world: Sampled, cache: Path, recipe: Recipe, times: float, steps: Sequence[int] = STEPS
) -> Code:
    """Return a recipe's last step with a k other than that it was trained with.

    Args:
        world: that it is of.
        cache: of what was trained.
        recipe: of a dictionary that has a k.
        times: its k, in that of the training.
        steps: that were kept.
    """
    parts = _kept(world, cache, recipe, steps)[steps[-1]]
    return _code(world, replace(recipe, k=times * recipe.k), steps[-1], parts)


def _kept(
    world: Sampled, cache: Path, recipe: Recipe, steps: Sequence[int]
) -> dict[int, dict[str, Tensor]]:
    """Return the parts of a dictionary at every step, trained once."""
    own = "" if steps == STEPS else "-at-" + "-".join(map(str, steps))
    path = cache / f"{world.fingerprint[:16]}-{recipe.name}{own}.pt"
    if not path.is_file():
        torch.save(_train(world, recipe, steps), path)
    found = torch.load(path, weights_only=True)
    return {
        step: {n.split(".")[1]: p for n, p in found.items() if n.split(".")[0] == str(step)}
        for step in steps
    }


def _code(world: Sampled, recipe: Recipe, step: int, parts: dict[str, Tensor]) -> Code:
    k = round(recipe.k * world.spec.k)
    trainee = _Trainee(recipe, len(parts["rows"]), k, parts["bias"][None])
    level = float(parts["level"])
    kind = "trained" if step > STEPS[0] else "control"
    encode = lambda x: trainee.active(x, parts, level)  # noqa: E731
    return Code(f"{recipe.name}@{step}", kind, encode, parts["rows"])


def panel(world: KindWorld, cache: Path, recipes: Sequence[Recipe] = RECIPES) -> list[Code]:
    """Return all dictionaries of a world; those that are made of a trained one are of the first."""
    return [*unsupervised(world, cache, recipes), *_supervised(world)]


def unsupervised(world: Sampled, cache: Path, recipes: Sequence[Recipe] = RECIPES) -> list[Code]:
    """Return those that nobody's labels were needed for."""
    x = world.sample(20_000, world.spec.seed, "panel").x
    found = list(trained(world, cache, recipes))
    best = next(each for each in found if each.name.endswith(f"@{STEPS[-1]}"))
    oracle = Code("oracle", "oracle", lambda _: _[:0], world.rows)
    return [*found, oracle, *_axes(x), *_random(world, x), *_of(best, world)]


def _axes(x: Tensor) -> Iterator[Code]:
    mean = x.mean(0)
    axes = torch.linalg.svd(x[:5000] - mean, full_matrices=False).Vh
    for name, rows in (("identity+-", torch.eye(x.shape[1])), ("pca+-", axes)):
        yield Code(name, "control", _split(rows, mean), torch.cat([rows, -rows]))
    top = _split(axes, mean)

    def few(tokens: Tensor) -> Tensor:
        z = top(tokens)
        return z * (z >= z.topk(6, dim=1).values[:, -1:])

    yield Code("pca topk", "control", few, torch.cat([axes, -axes]))


def _split(rows: Tensor, mean: Tensor) -> Callable[[Tensor], Tensor]:
    def encode(x: Tensor) -> Tensor:
        before = (x - mean) @ rows.T
        return torch.cat([before, -before], dim=1).relu()

    return encode


def _random(world: Sampled, x: Tensor) -> Iterator[Code]:
    g = torch.Generator().manual_seed(world.spec.seed)
    count, k, mean = world.spec.features, world.spec.k, x.mean(0)
    reads, other = (normalize(torch.randn(count, x.shape[1], generator=g)) for _ in range(2))
    before = (x[:2000] - mean) @ reads.T
    level = float(before.flatten().topk(k * 2000).values[-1])
    encode = lambda x: (p := (x - mean) @ reads.T) * (p > level)  # noqa: E731
    yield Code("random tied", "control", encode, reads)
    yield Code("random untied", "control", encode, other)


def _of(best: Code, world: Sampled) -> Iterator[Code]:
    g = torch.Generator().manual_seed(7)
    count = len(best.rows)
    permuted = best.rows[torch.randperm(count, generator=g)]
    yield Code("permuted", "control", best.encode, permuted)
    stays = (torch.rand(count, generator=g) > 0.2).float()
    yield Code("fifth dropped", "attack", lambda x: best.encode(x) * stays, best.rows)
    truth = world.sample(8000, world.spec.seed, "roles")
    asked = correlations(best.encode(truth.x), truth.features)[world.asked].max(0) > 0.2
    scale = torch.where(torch.as_tensor(asked), 1.0, 0.5)
    yield Code("other roles halved", "attack", lambda x: best.encode(x) * scale, best.rows)
    yield Code("asked doubled", "attack", lambda x: best.encode(x) * (3 - 2 * scale).clamp(max=2),
               best.rows)  # fmt: skip
    yield Code("shrunk", "attack", lambda x: 0.7 * best.encode(x), best.rows)
    turn = count // 2 * 2
    mixed = best.rows.clone()
    mixed[0:turn:2] = (best.rows[0:turn:2] + best.rows[1:turn:2]) / np.sqrt(2)
    mixed[1:turn:2] = (best.rows[0:turn:2] - best.rows[1:turn:2]) / np.sqrt(2)

    def turned(x: Tensor) -> Tensor:
        z = best.encode(x)
        rotated = z.clone()
        rotated[:, 0:turn:2] = (z[:, 0:turn:2] + z[:, 1:turn:2]) / np.sqrt(2)
        rotated[:, 1:turn:2] = (z[:, 0:turn:2] - z[:, 1:turn:2]) / np.sqrt(2)
        return rotated

    yield Code("pairs rotated", "attack", turned, mixed)


def _supervised(world: KindWorld) -> Iterator[Code]:
    """Dense latents made of the very labels that will be asked about, of other texts."""
    means, directions = [], []
    for place in range(len(world.pairs)):
        texts = world.pair(place, (150, 1), 1)
        x = texts.tokens.mean(1)
        for label in texts.labels:
            up = torch.as_tensor(np.asarray(label, bool))
            gap = x[up].mean(0) - x[~up].mean(0)
            means.append(gap)
            directions.append(torch.linalg.solve(_within(x, up), gap))
    for place in range(len(world.multis)):
        texts = world.multi(place, (150, 1), 1)
        x = texts.tokens.mean(1)
        for c in range(texts.cells.max() + 1):
            up = torch.as_tensor(texts.cells == c)
            gap = x[up].mean(0) - x[~up].mean(0)
            means.append(gap)
            directions.append(torch.linalg.solve(_within(x, up), gap))
    probes, gaps = normalize(torch.stack(directions)), normalize(torch.stack(means))
    mean = world.sample(5000, world.spec.seed, "panel").x.mean(0)
    for name, reads, rows in (
        ("dual basis", probes, torch.linalg.pinv(probes, rtol=0.2).T),
        ("class means", gaps, gaps),
    ):
        yield Code(name, "control", _split(reads, mean), torch.cat([rows, -rows]))


def _within(x: Tensor, up: Tensor) -> Tensor:
    centred = x - torch.where(up[:, None], x[up].mean(0), x[~up].mean(0))
    covariance = centred.T @ centred / len(x)
    return covariance + 0.01 * covariance.trace() / len(covariance) * torch.eye(len(covariance))


def correlations(z: Tensor, truth: Tensor) -> Floats:
    """(F, d_sae)."""
    one, two = (
        (each - each.mean(0)) / each.std(0, correction=0).clamp(min=1e-9) for each in (truth, z)
    )
    return (one.T @ two / len(z)).double().numpy()


def recovery(code: Code, world: Sampled, x: Tensor, features: Tensor) -> tuple[float, float]:
    """Return by two truths how much of the features that are asked about is found.

    F1 of the latent with its best threshold times the cosine of its row; and the correlation with
    how strongly the feature fires. Each feature has a latent of its own (optimal assignment).
    """
    asked = world.asked
    truth = features[:, asked]
    with torch.no_grad():
        z = features if code.name == "oracle" else code.encode(x)
    cosine = (normalize(world.rows[asked]) @ normalize(code.rows).T).clamp(min=0).double().numpy()
    f1 = np.zeros_like(cosine)
    there = (truth > 0).float()
    # The best of a few thresholds: quantiles of what a latent is where it fires.
    ordered = z.sort(dim=0, descending=True).values
    counts = (z > 0).sum(0)
    for share in (0.1, 0.2, 0.35, 0.5, 0.7, 1.0):
        places = ((share * counts).long() - 1).clamp(min=0)
        level = ordered.gather(0, places[None])[0].clamp(min=1e-12)
        fires = (z >= level).float()
        hits = there.T @ fires
        f1 = np.maximum(
            f1, (2 * hits / (there.sum(0)[:, None] + fires.sum(0)).clamp(min=1)).numpy()
        )
    found = []
    for agreement in (f1 * cosine, correlations(z, truth)):
        rows, columns = linear_sum_assignment(np.nan_to_num(agreement), maximize=True)
        found.append(float(np.nan_to_num(agreement)[rows, columns].mean()))
    return found[0], found[1]
