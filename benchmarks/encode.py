"""The time of every family's encode over that of one matrix product and the same selection.

    python benchmarks/encode.py [--d-in 512] [--d-sae 8192] [--tokens 4096] [--repeats 5] [NAME ...]

A small random dictionary of each family is written as its format has it, loaded as users load it,
and encodes the same tokens on one thread. The limit is `select(x @ W_enc)`, with a W_enc that lies
as the product likes it best and the family's own selection (relu, thresholds, the k largest), and
nothing else: no bias, no normalisation, no check. The two alternate and medians are taken.

Two families do more by their nature: matching pursuit (overcomplete) makes k such products, and
SNMF solves a least-squares problem for every token, so that it is measured at --snmf-rank latents
(its usual sizes) and fewer tokens.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.formats import NAMES
from pytest_sae.dictionaries.formats.selection import above, signed_above, top_k
from pytest_sae.dictionaries.load import load

K, EXPERTS = 32, 16
THRESHOLD = 2.5
HOOK = "blocks.0.hook_resid_post"


@dataclass(frozen=True)
class Weights:
    """A random dictionary: reads and writes (d_sae, d_in), of norm 1, and its biases."""

    reads: Tensor
    writes: Tensor
    latent: Tensor
    output: Tensor

    @property
    def d_in(self) -> int:
        """Width of the site."""
        return self.reads.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.reads.shape[0]

    def linear(self) -> dict[str, Tensor]:
        """Under the names of torch.nn.Linear."""
        return {
            "encoder.weight": self.reads,
            "encoder.bias": self.latent,
            "decoder.weight": self.writes.T.contiguous(),
        }

    def matrices(self) -> dict[str, Tensor]:
        """Under the names of sae_lens."""
        return {
            "W_enc": self.reads.T.contiguous(),
            "b_enc": self.latent,
            "W_dec": self.writes,
            "b_dec": self.output,
        }


Select = Callable[[Tensor], Tensor]


def relu(z: Tensor) -> Tensor:
    """Keep what is positive."""
    return z.relu_()


def largest(z: Tensor) -> Tensor:
    """Keep the K largest."""
    return top_k(z.relu_(), K)


def exceeding(z: Tensor) -> Tensor:
    """Keep what exceeds the threshold."""
    return above(z, THRESHOLD)


def signed(z: Tensor) -> Tensor:
    """Keep what exceeds the threshold in size."""
    return signed_above(z, THRESHOLD)


@dataclass(frozen=True)
class Case:
    """How a dictionary of a family is written, and what of the limit is its own.

    Args:
        write: puts its files into a directory, and returns the path to load.
        select: its selection.
        settings: what its files do not say.
    """

    write: Callable[[Weights, Path], Path]
    select: Select
    settings: tuple[tuple[str, str], ...] = ()


def saved(directory: Path, name: str, tensors: dict[str, Tensor], **config: Any) -> Path:
    """Write weights and `config.json` or `cfg.json` (whichever `config` names) into a directory."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".safetensors"):
        save_file(tensors, path)
    elif name.endswith(".npz"):
        arrays: dict[str, Any] = {key: tensor.numpy() for key, tensor in tensors.items()}
        np.savez(path, **arrays)
    else:
        torch.save(tensors, path)
    for file, content in config.items():
        (directory / f"{file}.json").write_text(json.dumps(content))
    return directory if config else path


def sae_lens(w: Weights, directory: Path) -> Path:
    """A TopK SAE."""
    config = {
        "architecture": "topk",
        "d_in": w.d_in,
        "d_sae": w.d_sae,
        "k": K,
        "normalize_activations": "none",
        "apply_b_dec_to_input": True,
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": HOOK, "model_name": "none"},
    }
    return saved(directory, "sae_weights.safetensors", w.matrices(), cfg=config)


def dictionary_learning(w: Weights, directory: Path) -> Path:
    """An AutoEncoderTopK."""
    trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": w.d_in, "dict_size": w.d_sae}
    return saved(
        directory, "ae.pt", w.linear() | {"b_dec": w.output}, config={"trainer": trainer | {"k": K}}
    )


def openai(w: Weights, directory: Path) -> Path:
    """A TopK of layer-normalised tokens."""
    state: dict[str, Any] = {
        "pre_bias": w.output,
        "latent_bias": w.latent,
        "encoder.weight": w.reads,
        "decoder.weight": w.writes.T.contiguous(),
        "activation": "TopK",
        "activation_state_dict": {"k": K, "postact_fn": "ReLU"},
    }
    return saved(directory, "autoencoder.pt", state)


def gemma_scope(w: Weights, directory: Path) -> Path:
    """A JumpReLU SAE."""
    return saved(
        directory, "params.npz", w.matrices() | {"threshold": torch.full((w.d_sae,), THRESHOLD)}
    )


def sparsify(w: Weights, directory: Path) -> Path:
    """A TopK SAE."""
    tensors = w.linear() | {"W_dec": w.writes, "b_dec": w.output}
    del tensors["decoder.weight"]
    config = {"d_in": w.d_in, "num_latents": w.d_sae, "k": K, "activation": "topk"}
    return saved(directory, "sae.safetensors", tensors, cfg=config)


def llama_scope(w: Weights, directory: Path) -> Path:
    """A JumpReLU SAE trained on scaled activations."""
    config = {
        "d_model": w.d_in,
        "d_sae": w.d_sae,
        "act_fn": "jumprelu",
        "jump_relu_threshold": THRESHOLD,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": 20.0, "out": 20.0},
        "hook_point_in": HOOK,
        "hook_point_out": HOOK,
    }
    tensors = w.linear() | {"decoder.bias": w.output}
    return saved(directory, "checkpoints/final.safetensors", tensors, hyperparams=config)


def switch_sae(w: Weights, directory: Path) -> Path:
    """A router to EXPERTS experts."""
    tensors = {
        "encoder.weight": w.reads,
        "router.weight": w.writes[:EXPERTS].clone(),
        "decoder": w.writes,
        "b_dec": w.output,
        "b_router": w.output.clone(),
    }
    return saved(directory, "ae.pt", tensors)


def transcoder_circuits(w: Weights, directory: Path) -> Path:
    """A ReLU transcoder."""
    return saved(directory, "transcoder.pt", w.matrices() | {"b_dec_out": w.output.clone()})


def overcomplete(w: Weights, directory: Path) -> Path:
    """Matching pursuit."""
    tensors = {"dictionary._weights": w.writes, "dictionary.multiplier": torch.tensor(0.0)}
    return saved(directory, "mp.pt", tensors)


def variational(w: Weights, directory: Path) -> Path:
    """A TopK of the mean."""
    head = {"var_encoder.weight": w.writes.clone(), "var_encoder.bias": w.latent.clone()}
    return saved(directory, "vsae.pt", w.linear() | head | {"bias": w.output})


def signed_codes(w: Weights, directory: Path) -> Path:
    """Signed latents above a threshold."""
    tensors = {
        "encoder.weight": w.reads,
        "decoder.weight": w.writes.T.contiguous(),
        "input_bias": w.output,
        "neuron_bias": w.latent,
        "threshold": torch.tensor(THRESHOLD),
    }
    return saved(directory, "sae.pt", tensors)


def snmf(w: Weights, directory: Path) -> Path:
    """The matrix of a factorisation."""
    return saved(directory, "factors.npz", {"F": w.writes.T.contiguous()})


def batch_topk(w: Weights, directory: Path) -> Path:
    """A TopK SAE of the BatchTopK repository."""
    config = {"act_size": w.d_in, "dict_size": w.d_sae, "sae_type": "topk", "top_k": K}
    return saved(directory, "sae.pt", w.matrices(), config=config)


def qwen_scope(w: Weights, directory: Path) -> Path:
    """The K largest of a layer."""
    tensors = {name: tensor.T.contiguous() for name, tensor in w.matrices().items()}
    return saved(directory / f"SAE-Res-Tiny-W1K-L0_{K}", "layer0.sae.pt", tensors)


def weights_only(w: Weights, directory: Path) -> Path:
    """Matrices that nothing describes."""
    return saved(directory, "weights.safetensors", w.matrices())


def _several(w: Weights, sites: int) -> dict[str, Any]:
    """What OpenMOSS' library declares of a dictionary of several sites."""
    return {
        "d_model": w.d_in // sites,
        "d_sae": w.d_sae,
        "act_fn": "topk",
        "top_k": K,
        "norm_activation": "inference",
    }


def crosscoder(w: Weights, directory: Path) -> Path:
    """A crosscoder of two sites, each half as wide: as many products as one of the whole."""
    reads = torch.stack([half.T.contiguous() for half in w.reads.split(w.d_in // 2, dim=1)])
    tensors = {
        "W_E": reads,
        "b_E": torch.zeros(2, w.d_sae),
        "W_D": reads.transpose(1, 2).contiguous(),
        "b_D": torch.zeros(2, w.d_in // 2),
    }
    save_file(tensors, directory / "sae_weights.safetensors")
    config = {"sae_type": "crosscoder", "hook_points": [HOOK, f"{HOOK}s"], **_several(w, 2)}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def clt(w: Weights, directory: Path) -> Path:
    """A cross-layer transcoder at its lowest site, which one layer writes."""
    tensors = {
        "W_E": w.reads.T[None].contiguous(),
        "b_E": w.latent[None],
        "W_D.0": w.writes[None],
        "b_D.0": w.output,
    }
    save_file(tensors, directory / "sae_weights.safetensors")
    config = {"sae_type": "clt", "hook_points_in": [HOOK], "hook_points_out": [f"{HOOK}s"]}
    (directory / "config.json").write_text(json.dumps({**config, **_several(w, 1)}))
    return directory


CASES = {
    "sae_lens": Case(sae_lens, largest),
    "dictionary_learning": Case(dictionary_learning, largest),
    "openai": Case(openai, largest),
    "gemma_scope": Case(gemma_scope, exceeding),
    "sparsify": Case(sparsify, largest),
    "llama_scope": Case(llama_scope, exceeding),
    "crosscoder": Case(crosscoder, largest, (("at", "0"),)),
    "clt": Case(clt, largest, (("at", "0"),)),
    "switch_sae": Case(
        switch_sae, largest, (("k", str(K)), ("experts", str(EXPERTS)), ("heaviside", "false"))
    ),
    "transcoder_circuits": Case(transcoder_circuits, relu),
    "overcomplete": Case(overcomplete, largest, (("k", str(K)),)),
    "variational": Case(variational, largest, (("codes", "topk"), ("k", str(K)))),
    "signed_codes": Case(signed_codes, signed, (("codes", "signed"),)),
    "snmf": Case(snmf, relu),
    "batch_topk": Case(batch_topk, largest),
    "qwen_scope": Case(qwen_scope, largest),
    "weights_only": Case(weights_only, largest, (("activation", "topk"), ("k", str(K)))),
}


def random_weights(d_in: int, d_sae: int) -> Weights:
    """Return weights whose latents are as active as those of a trained SAE, roughly."""
    generator = torch.Generator().manual_seed(0)
    reads = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=generator))
    return Weights(reads, reads.clone(), torch.zeros(d_sae), torch.zeros(d_in))


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str, w: Weights, x: Tensor, repeats: int) -> tuple[float, float, float]:
    """Return the medians of encode and of the limit in seconds, and the mean L0."""
    case, product = CASES[name], w.reads.T.contiguous()
    with tempfile.TemporaryDirectory() as directory, torch.inference_mode():
        path = case.write(w, Path(directory))
        dictionary = load(path, family=name, settings=case.settings)
        active = float((dictionary.encode(x) != 0).sum()) / len(x)
        case.select(x @ product)
        pairs = [
            (seconds(lambda: dictionary.encode(x)), seconds(lambda: case.select(x @ product)))
            for _ in range(repeats)
        ]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs), active


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="families (default: all)")
    parser.add_argument("--d-in", type=int, default=512)
    parser.add_argument("--d-sae", type=int, default=8192)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--snmf-rank", type=int, default=100)
    parser.add_argument("--snmf-tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args(given)


def main() -> None:
    """Print the table."""
    options = arguments()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    print(
        f"{'family':20} {'d_sae':>6} {'tokens':>6} {'L0':>7} {'encode s':>9} {'limit s':>8} ratio"
    )
    for name in options.names or NAMES:
        if name not in CASES:
            print(f"{name:20} no case: add one to CASES")
            continue
        rank = options.snmf_rank if name == "snmf" else options.d_sae
        count = options.snmf_tokens if name == "snmf" else options.tokens
        x = torch.randn(count, options.d_in, generator=generator)
        encode, limit, active = measure(
            name, random_weights(options.d_in, rank), x, options.repeats
        )
        print(
            f"{name:20} {rank:6} {count:6} {active:7.1f} {encode:9.3f} {limit:8.3f} "
            f"{encode / limit:5.2f}"
        )


if __name__ == "__main__":
    main()
