"""What the README and the pages of docs show works as it stands there."""

from __future__ import annotations

import csv
import re
from itertools import product
from pathlib import Path

import pytest

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.options import add_options
from tests.labelled import labelled_data
from tests.suite.running import ran
from tests.tiny import tiny_model, tiny_sae

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_example_of_an_own_test_measures_and_gates(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    sae = tiny_sae(tmp_path / "mine", model=str(tmp_path / "model"))
    for name, says in (("conftest.py", "MetricSpec("), ("test_own.py", "def test_longest_row")):
        (text,) = (block for block in blocks("python") if says in block)
        (tmp_path / name).write_text(text)
    bounds = tmp_path / "thresholds.toml"
    arguments = ["test_own.py", f"--sae={sae}", f"--sae-data={labelled_data(tmp_path)}"]
    arguments += ["--sae-cache=off", "--rootdir=.", "-p", "no:cacheprovider"]
    for most, code in ((1.1, 0), (0.9, 1)):
        bounds.write_text(f"version = 1\n[metrics.longest_row]\nmax = {most}\n")
        found, output = ran(arguments, tmp_path / "output.txt", cwd=tmp_path)
        assert found == code, output


def test_the_example_of_own_thresholds_is_accepted(tmp_path: Path) -> None:
    text = next(block for block in blocks("toml") if "[metrics" in block)
    (tmp_path / "bounds.toml").write_text(text)
    bounds = load_thresholds(tmp_path / "bounds.toml", "bounds.toml")
    rule = bounds.rule_for("scr", {"n": 20, "direction": "spurious"})
    assert rule is not None
    assert rule.max_rel_se == 0.2


def test_the_example_of_own_texts_is_accepted(tmp_path: Path) -> None:
    text = next(block for block in blocks("toml") if "[corpus]" in block)
    (tmp_path / "tasks.toml").write_text(text)
    (tmp_path / "heldout.jsonl").write_text(
        "".join(f'{{"text": "something to read {number}"}}\n' for number in range(10))
    )
    jobs = ("professor", "nurse", "accountant", "architect", "attorney", "dentist", "filmmaker")
    for split in ("train", "test"):
        with (tmp_path / f"bios.{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "profession", "gender"])
            for job, gender, number in product(jobs, ("male", "female"), range(10)):
                writer.writerow([f"{split} {job} {gender} {number}", job, gender])
    tasks = load_tasks(tmp_path / "tasks.toml", Sizes(), 0)
    assert len(tasks.scr[0].train.texts) == 40
    assert len(tasks.tpp[0].test.texts) == 100


def test_every_flag_is_in_the_table() -> None:
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    flags = [name for option in parser.getgroup("sae").options for name in option.names()]
    assert len(flags) > 10
    for flag in flags:
        assert f"`{flag}" in README, flag


def anchors(page: Path) -> set[str]:
    """Return what links into a page may name, as GitHub spells it."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        assert there.is_file(), target
        assert not anchor or anchor in anchors(there), target
