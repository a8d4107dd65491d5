"""A family of another package: its fixture, bound, heading, control and audit row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Loaded here once: pytester unloads after every run what that run has imported.
import sae_lens  # noqa: F401

from pytest_sae.activations.store import Store
from pytest_sae.audit.gather import SIZES, Bench, audited
from pytest_sae.families import registry
from pytest_sae.options import CI_VARIABLES
from tests.labelled import labelled_data
from tests.tiny import tiny_model, tiny_sae
from tests.whole import whole_report

GUEST = '''
"""How large the largest latent of a text is, on average."""

from pytest_sae import Card, Estimate
from pytest_sae.families.card import POSITIVE, higher, per_suite

CARD = Card(
    name="loudest",
    title="The loudest latents (a guest's)",
    measure="loudest_family:measure",
    metrics=(
        higher(
            "loudest", "mean of each text's largest latent", POSITIVE, controls={"random": "below"}
        ),
    ),
    on_tasks=False,
    sizes=per_suite(texts=(8, 50, None)),
    cheap_controls=("random",),
    control_texts="corpus",
    audited=True,
)


def measure(given):
    texts = given.corpus("loudness").texts
    largest = given.latents.pooled(texts).z.max(axis=1).toarray().ravel()[: given.sizes["texts"]]
    se = largest.std(ddof=1) / len(largest) ** 0.5
    return [Estimate("loudest", float(largest.mean()), se=float(se), n={"texts": len(largest)})]
'''

CONFTEST = """
def pytest_sae_families(register):
    from loudest_family import CARD

    register(CARD)
"""

EVALS = """
import pytest

@pytest.mark.sae_metric("loudest")
def test_loudest(loudest, metric, gate):
    gate(loudest[metric])
"""

THRESHOLDS = """
version = 1
[metrics.loudest]
min = 0.001
"""


@pytest.fixture
def guests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose conftest registers a family of a module beside it."""
    monkeypatch.setattr(registry, "_CARDS", dict(registry._CARDS))
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    path = pytester.path
    for name, text in {
        "loudest_family.py": GUEST,
        "conftest.py": CONFTEST,
        "evals/test_loudest.py": EVALS,
        "evals/thresholds.toml": THRESHOLDS,
        "pytest.ini": "[pytest]\npythonpath = .\naddopts = -p no:cacheprovider\n",
    }.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    monkeypatch.syspath_prepend(path)
    yield path
    sys.modules.pop("loudest_family", None)


def run(pytester: pytest.Pytester, path: Path) -> dict[str, Any]:
    model = tiny_model(path / "model")
    (path / "data").mkdir()
    labelled_data(path / "data")
    sae = tiny_sae(path / "topk", model=str(model))
    done = pytester.runpytest_inprocess(
        "-p", "pytest_sae.plugin", "evals", f"--sae={sae}", "--sae-suite=smoke",
        f"--sae-data={path / 'data' / 'tasks.toml'}", "--sae-controls=random", "--sae-cache=off",
    )  # fmt: skip
    assert done.ret in (0, 1), done.stdout.str()
    report: dict[str, Any] = whole_report(path / "sae-report" / "report.json")
    return report


def test_a_family_of_another_package_is_measured_judged_controlled_and_shown(
    pytester: pytest.Pytester, guests: Path
) -> None:
    report = run(pytester, guests)
    (row,) = report["measurements"]
    assert (row["metric"], row["n"], row["rule"]["min"]) == ("loudest", {"texts": 8}, 0.001)
    assert row["direction"] == "higher"
    (control,) = row["controls"]
    assert (control["control"], control["expected"]) == ("random", "below")
    assert control["value"] is not None
    # Random weights beside random weights: the rule is met, and the metric tells nothing.
    assert control["holds"] is False
    assert "not discriminating here" in row["reason"]
    page = (guests / "sae-report" / "report.html").read_text()
    assert "The loudest latents (a guest&#x27;s)" in page or "(a guest&#39;s)" in page


def test_its_audit_row_is_there_without_an_edit_of_ours(guests: Path) -> None:
    from loudest_family import CARD  # type: ignore[import-not-found]

    registry.register_card(CARD)
    assert list(audited())[-1] == "loudest"
    size = SIZES["smoke"]
    bench = Bench(size.worlds[0], size, Store(None), {"loudest": audited()["loudest"]})
    found = {each.member: each.value for each in bench.measure(0)}
    assert set(found) == {member.name for member in bench.members}
    assert all(value is not None for value in found.values())
