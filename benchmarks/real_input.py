"""Train an SAE on a real language model and evaluate it with the suite.

    python benchmarks/real_input.py --model DIR --stories FILE.json --train TRAIN.csv \\
        --test TEST.csv [--layer 3] [--steps 3000] [--out DIR]

--model is any Hugging Face causal language model, --stories a JSON list of texts that are close to
what it was trained on, --train and --test are CSV files with columns text, domain and sentiment.
Three dictionaries go through `pytest evals/`: the trained one, the same run after 2 % of its steps,
and a random one of the same L0. What is printed is the table of all metrics side by side, and for
`core` whether it ranks them in that order.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sae_lens
import torch
from sae_lens import SAETrainer
from sae_lens.saes.sae import SAEMetadata
from torch import Tensor

from fixtures import dictionaries
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import batches
from pytest_sae.records.schema import builtins, read_report

HELD_OUT_STORIES = 200
CONTEXT = 128
NAMES = ("trained", "early", "random")
EARLY = 0.02
PAIRS = (
    ("books", "electronics"),
    ("kitchen_housewares", "music"),
    ("dvd", "toys_games"),
    ("camera_photo", "video"),
)
CLASSES = ("books", "dvd", "electronics", "health_personal_care", "music")
BETTER = {"higher": 1, "lower": -1}


@dataclass(frozen=True)
class Inputs:
    """The paths given on the command line."""

    model: Path
    stories: Path
    train: Path
    test: Path
    layer: int
    steps: int
    tokens: int
    threads: int
    out: Path


def main() -> None:
    inputs = read_arguments()
    torch.set_num_threads(inputs.threads)
    inputs.out.mkdir(parents=True, exist_ok=True)
    stories = json.loads(inputs.stories.read_text(encoding="utf-8"))
    tasks = write_tasks(inputs, stories[:HELD_OUT_STORIES])
    model = load_model(str(inputs.model), "cpu", torch.float32)
    x = activations(model, inputs, stories[HELD_OUT_STORIES:])
    train(inputs, x)
    print(f"trained on {len(x)} tokens, {inputs.steps} steps")
    evaluate(inputs, tasks)
    print_table(builtins(read_report(inputs.out / "report")))


def read_arguments() -> Inputs:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "stories", "train", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--layer", type=int, default=3, help="block whose output is used")
    parser.add_argument("--steps", type=int, default=3000, help="batches of 1024 tokens")
    parser.add_argument("--tokens", type=int, default=400_000, help="training tokens kept")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for training")
    parser.add_argument("--out", type=Path, default=Path("real-input"))
    return Inputs(**{k: _absolute(v) for k, v in vars(parser.parse_args()).items()})


def write_tasks(inputs: Inputs, held_out: list[str]) -> Path:
    """Describe the reviews and the held-out stories as any user would."""
    corpus = inputs.out / "stories.jsonl"
    corpus.write_text("".join(json.dumps({"text": story}) + "\n" for story in held_out))
    lines = [
        "version = 1",
        f'corpus = {{ file = "{corpus}", text = "text" }}',
        "[datasets.reviews]",
        f'train = "{inputs.train}"',
        f'test = "{inputs.test}"',
        'text = "text"',
    ]
    for positive, negative in PAIRS:
        lines += [
            "[[scr]]",
            f'name = "{positive}_{negative}"',
            'dataset = "reviews"',
            f'intended = {{ column = "domain", positive = "{positive}", negative = "{negative}" }}',
            'spurious = { column = "sentiment", positive = "1", negative = "0" }',
        ]
    lines += ["[[tpp]]", 'name = "reviews"', 'dataset = "reviews"', 'column = "domain"']
    lines.append(f"classes = {json.dumps(CLASSES)}")
    path = inputs.out / "tasks.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def activations(model: LanguageModel, inputs: Inputs, stories: list[str]) -> Tensor:
    """(token, d): the site's activations over stories and the training reviews."""
    with inputs.train.open(newline="", encoding="utf-8") as stream:
        reviews = [row["text"] for row in csv.DictReader(stream)]
    site = model.site(f"blocks.{inputs.layer}.hook_resid_post")
    texts = [*stories, *reviews[:: max(1, len(reviews) // 4000)]]
    parts: list[Tensor] = []
    for batch in batches(texts, model.tokenizer, CONTEXT, prepend_bos=True):
        parts.append(model.capture(batch, [site])[site][batch.valid])
    x = torch.cat(parts)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[: inputs.tokens]]


def train(inputs: Inputs, x: Tensor) -> None:
    """Train a TopK SAE as the bundled one is; keep it, an early copy, and a random one."""
    folder, place = inputs.out / "saes", metadata(inputs)
    sae = dictionaries.untrained("topk", x.shape[1])
    sae.cfg.metadata = place
    # Trained at a mean norm of sqrt(d_in); the scale is folded into what is saved.
    scale = x.shape[1] ** 0.5 / float(x.norm(dim=1).mean())
    keep = partial(dictionaries.save, sae, scale)
    moments = {round(EARLY * inputs.steps): partial(keep, folder / "early")}
    batches = dictionaries.watched(dictionaries.shuffled(x * scale, 0), moments)
    SAETrainer(cfg=dictionaries.schedule(inputs.steps), sae=sae, data_provider=batches).fit()
    keep(folder / "trained")
    spoiled = dictionaries.spoiled(x[:50_000], float(dictionaries.K), 0)
    spoiled.cfg.metadata = place
    spoiled.save_model(str(folder / "random"))


def metadata(inputs: Inputs) -> SAEMetadata:
    """Where the SAE belongs."""
    return SAEMetadata(
        model_name=str(inputs.model),
        hook_name=f"blocks.{inputs.layer}.hook_resid_post",
        context_size=CONTEXT,
        prepend_bos=True,
        sae_lens_version=sae_lens.__version__,
    )


def evaluate(inputs: Inputs, tasks: Path) -> None:
    """Run the suite as a user does."""
    command = [sys.executable, "-m", "pytest", "evals/", "--sae-no-gate", f"--sae-data={tasks}"]
    command += [f"--sae={inputs.out / 'saes' / name}" for name in NAMES]
    command += [f"--sae-report={inputs.out / 'report'}", "-n", "2"]
    subprocess.run(command, cwd=Path(__file__).resolve().parents[1], check=False)


def print_table(report: dict[str, Any]) -> None:
    """Print every metric of the three side by side, and whether `core` ranks them right."""
    rows = {(row["sae"], key(row)): row for row in report["measurements"]}
    keys = list(dict.fromkeys(name for _, name in rows))
    print(f"{'metric':36}" + "".join(f"{name:>24}" for name in NAMES) + "  order")
    for name in keys:
        three = [rows.get((sae, name)) for sae in NAMES]
        print(f"{name:36}" + "".join(f"{cell(row):>24}" for row in three) + f"  {order(three)}")


def key(row: dict[str, Any]) -> str:
    settings = ",".join(f"{name}={value}" for name, value in sorted(row["params"].items()))
    return f"{row['metric']}:{settings}" if settings else str(row["metric"])


def cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    error = "" if row["se"] is None else f" ± {row['se']:.2g}"
    return f"{row['value']:.4g}{error}"


def order(three: list[dict[str, Any] | None]) -> str:
    """Say whether trained, early and random stand in this order of quality."""
    if any(row is None or row["value"] is None for row in three):
        return "unknown"
    sign = BETTER.get(str(three[0]["direction"]))  # type: ignore[index]
    if sign is None:
        return ""
    values = [sign * row["value"] for row in three if row is not None]
    return "as expected" if values == sorted(values, reverse=True) else "NOT in order"


def _absolute(value: Any) -> Any:
    return value.resolve() if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
