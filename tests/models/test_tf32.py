"""TF32 in passes of the model on a GPU that has it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations
from pytest_sae.models import tf32
from pytest_sae.models.load import load
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import batches
from tests.sessions import opened, tiny_world
from tests.tiny import tiny_model

GPU = torch.device("cuda")


@pytest.fixture
def model(tmp_path: Path) -> LanguageModel:
    tiny_model(tmp_path / "model")
    return load(str(tmp_path / "model"), "cpu")


@pytest.fixture
def capability(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A GPU's compute capability, as torch would tell it."""
    found = [(8, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: found[0])
    return found


@contextmanager
def precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("device", "dtype", "having", "expected"),
    [
        ("cuda", torch.float32, (8, 0), True),
        ("cuda", torch.float32, (9, 0), True),
        ("cuda", torch.float32, (7, 5), False),
        ("cuda", torch.bfloat16, (9, 0), False),
        ("cpu", torch.float32, (9, 0), False),
    ],
)
def test_it_is_used_for_float32_on_gpus_since_ampere(
    capability: list[tuple[int, int]],
    device: str,
    dtype: torch.dtype,
    having: tuple[int, int],
    expected: bool,
) -> None:
    capability[0] = having
    assert tf32.used(torch.device(device), dtype) is expected


@pytest.mark.parametrize("before", ["highest", "medium"])
def test_what_was_set_is_restored_after_a_pass(
    capability: list[tuple[int, int]], before: str
) -> None:
    with precision(before):
        with tf32.passing(GPU, torch.float32):
            assert torch.get_float32_matmul_precision() == "high"
        assert torch.get_float32_matmul_precision() == before


def precisions_of_a_pass(model: LanguageModel) -> list[str]:
    """What torch's products are made in where the logits of one batch are."""
    seen: list[str] = []
    note = lambda *_: seen.append(torch.get_float32_matmul_precision())  # noqa: E731
    handle = model.hf.get_output_embeddings().register_forward_hook(note)
    (batch,) = batches(["word one"], model.tokenizer, 32, True)
    model.logits(batch)
    handle.remove()
    return seen


def test_a_pass_of_the_model_is_in_it_and_what_reads_its_output_is_not(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf32, "used", lambda *_: True)
    assert precisions_of_a_pass(model) == ["high"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_pass_on_the_cpu_changes_nothing(model: LanguageModel) -> None:
    assert precisions_of_a_pass(model) == ["highest"]


def test_activations_made_with_it_are_kept_apart(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> dict[str, object]:
        site = model.site("blocks.0.hook_resid_post")
        return TokenActivations(model, site, ["word"], 8, True, Store(None)).key

    without = key()
    monkeypatch.setattr(tf32, "as_key", lambda _: {"products": "tf32"})
    assert key() == without | {"products": "tf32"}


def test_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = opened(tiny_world(tmp_path, "topk"), "topk")
    assert "model_products" not in session.describe()
    monkeypatch.setattr(tf32, "used", lambda *_: True)
    assert session.describe()["model_products"] == tf32.SAID
