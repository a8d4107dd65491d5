"""What a GPU makes of a wide dictionary: stage by stage, all families once, and beside the CPU.

    python -m benchmarks.gpu [--device cuda] [--seconds 450] [--d-in 2304] [--d-sae 65536]
    python -m benchmarks.gpu --device cpu --small          # the same on small sizes, anywhere

On random weights: a model of Gemma's shape with few layers, and a TopK dictionary of its stream.
Printed are

- tokens a second of each stage, and the share of what the matrix product alone gives;
- seconds of every family that asks no judge, at the size `smoke`, and the device's memory;
- what each figure of the bundled SAE is on this device and on the CPU;
- of the latents that the two select otherwise, how far they are from the last that is selected, in
  units of what float32 can resolve of such a product: a swap within it is rounding, beyond it a
  fault.

No stage begins when the time is up; what was left out is said.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import encode
from benchmarks.width import FAMILIES, options
from pytest_sae import bundled_world
from pytest_sae.activations.codes import Codes, chunk_tokens
from pytest_sae.activations.sparse_rows import sparse_rows
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.models.tokenize import Batch
from pytest_sae.session.session import EvalSession, LoadedSAE

LAYERS, AT = 3, 1
BESIDE = ("core", "scr", "tpp")  # families that are measured on both
ROUNDING = 4.0  # units of resolution that a swap may be off


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Args:
        d_in: width of the model.
        d_sae: latents.
        tokens: that are encoded at a time.
        repeats: of each stage.
    """

    d_in: int = 2304
    d_sae: int = 65536
    tokens: int = 16384
    repeats: int = 5


SMALL = Sizes(64, 512, 512, 2)


class Clock:
    """The time that is left; what does not begin any more is told.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def allows(self, what: str) -> bool:
        """Whether there is time for something; says so where there is none."""
        if time.monotonic() < self._end:
            return True
        print(f"left out for want of time: {what}", flush=True)
        return False


def main() -> None:
    """Measure all stages and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="of model and dictionary")
    parser.add_argument("--seconds", type=float, default=450, help="no stage begins after these")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--d-in", type=int, help="width of the model, by 256")
    parser.add_argument("--d-sae", type=int, help="latents")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="which to measure")
    arguments = parser.parse_args()
    sizes = SMALL if arguments.small else Sizes()
    sizes = replace(sizes, d_in=arguments.d_in or sizes.d_in, d_sae=arguments.d_sae or sizes.d_sae)
    device, clock = torch.device(arguments.device), Clock(arguments.seconds)
    print(f"{_name(device)}, torch {torch.__version__}, d_in {sizes.d_in}, d_sae {sizes.d_sae}\n")
    with tempfile.TemporaryDirectory() as directory:
        session, sae = opened(Path(directory), sizes, device)
        stages(session, sae, sizes, clock)
        if clock.allows("selections"):
            selections(sae, sizes)
        beside_the_cpu(device, clock)
        families(session, sae, arguments.families, clock)


def opened(directory: Path, sizes: Sizes, device: torch.device) -> tuple[EvalSession, LoadedSAE]:
    """Write a random model and a random dictionary of it, and load them.

    Args:
        directory: to write to.
        sizes: of both.
        device: of both.
    """
    model = gemma(directory / "model", sizes.d_in)
    inside = directory / "sae"
    inside.mkdir()
    encode.sparsify(encode.random_weights(sizes.d_in, sizes.d_sae), inside)
    session = EvalSession(replace(options(str(directory / "cache")), device=str(device)))
    spec = f"model={model},site=blocks.{AT}.hook_resid_post:{inside}"
    return session, session.load(resolve([spec])[0])


def gemma(directory: Path, width: int) -> Path:
    """Write a random model of Gemma 2's shape with the bundled tokenizer, and return its path.

    Args:
        directory: to write to.
        width: of its stream.
    """
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(bundled_world() / "model")
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=max(16, width // 9),
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    Gemma2ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def stages(session: EvalSession, sae: LoadedSAE, sizes: Sizes, clock: Clock) -> None:
    """Print tokens a second of each stage, beside the matrix product alone.

    Args:
        session: that loaded both.
        sae: the dictionary.
        sizes: how many tokens, how often.
        clock: what is left.
    """
    dictionary, model = sae.dictionary, session.model(sae)
    x = tokens(sizes, dictionary)
    part = batch_of(x.cpu(), model.vocab)
    weight = dictionary.encoder_rows
    assert weight is not None
    pieces = x.split(chunk_tokens(dictionary))
    todo: dict[str, Callable[[], object]] = {
        "matrix product alone": lambda: [each @ weight.T for each in pieces],
        "encode": lambda: [dictionary.encode(each) for each in pieces],
        "encode, sparse, to the host": lambda: Codes.of(part, dictionary, Work()),
        "encode, rows to the host": lambda: [sparse_rows(dictionary.encode(e)) for e in pieces],
        "reconstruct": lambda: [dictionary.reconstruct(each) for each in pieces],
        "model up to the site": lambda: model.capture(part.batch, [sae.site]),
        "whole model": lambda: model.next_logits(part.batch),
    }
    print("| stage | tokens a second | share of the product |\n|---|---|---|")
    limit = 0.0
    for name, run in todo.items():
        if not clock.allows(name):
            continue
        found = sizes.tokens / seconds(run, sizes.repeats, dictionary.device)
        limit = limit or found
        print(f"| {name} | {found:,.0f} | {found / limit:.2f} |", flush=True)
    print()


def tokens(sizes: Sizes, dictionary: Dictionary) -> Tensor:
    """Return random activations, (token, d_in), on the dictionary's device."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(sizes.tokens, sizes.d_in, generator=generator)
    return x.to(dictionary.device, dictionary.dtype)


def batch_of(x: Tensor, vocab: int) -> ActivationBatch:
    """Return tokens as texts of 128, with random ids."""
    length = min(128, len(x))
    texts = len(x) // length
    ids = torch.randint(3, vocab, (texts, length), generator=torch.Generator().manual_seed(2))
    there = torch.ones(texts, length, dtype=torch.bool)
    return ActivationBatch(
        Batch(ids, there, there, torch.arange(texts)), x.reshape(texts, length, -1)
    )


@torch.no_grad()
def seconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Return the least time of several runs, the device waited for; one more to warm up."""
    taken = []
    for _ in range(repeats + 1):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


@torch.no_grad()
def selections(sae: LoadedSAE, sizes: Sizes) -> None:
    """Print how many latents the device and the CPU select otherwise, and why.

    Args:
        sae: the dictionary on its device.
        sizes: how many tokens; a sixteenth of them is compared.
    """
    dictionary = sae.dictionary
    x = tokens(sizes, dictionary)[: max(32, sizes.tokens // 16)]
    there = dictionary.encode(x).cpu()
    rows = dictionary.encoder_rows
    assert rows is not None
    # The same latents before selection, with three times the digits: what both were rounded from.
    exact = x.cpu().double() @ rows.cpu().double().T
    here = load(sae_path(sae), device=torch.device("cpu"), dtype=dictionary.dtype).encode(x.cpu())
    swapped = (there != 0) != (here != 0)
    last = exact.topk(encode.K).values[:, -1:]
    scale = torch.finfo(torch.float32).eps * (x.cpu().double().norm(dim=1, keepdim=True))
    apart = ((exact - last).abs() / scale)[swapped]
    either = int(((there != 0) | (here != 0)).sum())
    beyond = int((apart > ROUNDING).sum())
    print(
        f"{len(x)} tokens: of {either} latents that either selects, {int(swapped.sum())} are "
        f"selected by one alone. Farthest from the last selected: "
        f"{float(apart.max()) if len(apart) else 0.0:.2f} roundings of the product; {beyond} "
        f"beyond {ROUNDING:g}, where rounding is no explanation.\n"
    )


def sae_path(sae: LoadedSAE) -> str:
    """Return where a dictionary was loaded from."""
    return sae.dictionary.info.source


def beside_the_cpu(device: torch.device, clock: Clock) -> None:
    """Print figures of the bundled SAE on the device and on the CPU.

    Args:
        device: the one that is tried.
        clock: what is left.
    """
    if not clock.allows("figures beside the CPU's"):
        return
    one, two = (_figures(each) for each in (device, torch.device("cpu")))
    print(f"| figure of the bundled SAE | {device} | cpu | apart, in standard errors |")
    print("|---|---|---|---|")
    for name, (value, error) in one.items():
        other = two[name][0]
        if value is None or other is None:
            print(f"| {name} | {value} | {other} | |")
            continue
        apart = f"{abs(value - other) / error:.2g}" if error else f"{abs(value - other):.2g} itself"
        print(f"| {name} | {value:.6g} | {other:.6g} | {apart} |")
    print(flush=True)


def _figures(device: torch.device) -> dict[str, tuple[float | None, float | None]]:
    session = EvalSession(replace(options("off"), cache=None, device=str(device)))
    sae = session.load(resolve([str(bundled_world() / "saes" / "topk")])[0])
    found = [each for family in BESIDE for each in session.measure(family, sae)]
    return {each.key: (each.estimate.value, each.estimate.se) for each in found}


def families(session: EvalSession, sae: LoadedSAE, names: Sequence[str], clock: Clock) -> None:
    """Print what each family takes, and the most memory that it has had.

    Args:
        session: that loaded the dictionary.
        sae: it.
        names: of the families.
        clock: what is left.
    """
    device = sae.dictionary.device
    print("| family | seconds | CPU seconds | GiB on the device |\n|---|---|---|---|")
    for name in names:
        if not clock.allows(name):
            continue
        _wait(device)
        started, worked = time.perf_counter(), time.process_time()
        session.measure(name, sae)
        _wait(device)
        taken, busy = time.perf_counter() - started, time.process_time() - worked
        print(f"| {name} | {taken:.1f} | {busy:.1f} | {_gib(device):.1f} |", flush=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gib(device: torch.device) -> float:
    """Most memory since the last question; of the process, where the device has none of its own."""
    if device.type != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    most: int = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return most / 2**30


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


if __name__ == "__main__":
    main()
