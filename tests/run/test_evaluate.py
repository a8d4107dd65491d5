"""`pytest_sae.evaluate`: what a run of pytest measures, without pytest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_sae
from pytest_sae.errors import DictionaryError, OptionError, PytestSAEError
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.records.measurement import Measurement
from pytest_sae.run.evaluate import Evaluation
from tests.sessions import tiny_world
from tests.whole import whole_report

ROOT = Path(__file__).parents[2]

# Who imports pytest fails: it is not there.
SCRIPT = """
import json, sys
sys.modules["pytest"] = sys.modules["_pytest"] = None
import pytest_sae
assert callable(pytest_sae.evaluate) and "torch" not in sys.modules
found = pytest_sae.evaluate(sys.argv[1], tasks=sys.argv[2], progress=False)
print(json.dumps({each.key: each.estimate.value for each in found.measurements}))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), "topk")


def completed(where: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_values_are_those_of_a_run_of_pytest_to_the_bit_and_pytest_is_not_needed(
    world: Path, tmp_path: Path
) -> None:
    sae, data = str(world / "topk"), str(world / "data" / "tasks.toml")
    test = (
        '@pytest.mark.sae_family("core")\ndef test_core(core, gate, metric): gate(core[metric])\n'
    )
    (tmp_path / "test_evals.py").write_text(f"import pytest\n{test}")
    completed(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--sae={sae}",
        f"--sae-data={data}", "--sae-suite=smoke", "--sae-no-gate", "--sae-cache=off",
    )  # fmt: skip
    rows = whole_report(tmp_path / "sae-report" / "report.json")["measurements"]
    found = json.loads(completed(tmp_path, "-c", SCRIPT, sae, data))
    assert len(found) > 20
    assert found == {row["metric"]: row["value"] for row in rows}


def test_measurements_are_found_by_key_and_as_a_frame(world: Path) -> None:
    pytest.importorskip("pandas", reason="the extra `frames`")
    found = pytest_sae.evaluate(
        world / "topk", tasks=world / "data" / "tasks.toml", families=["core"], progress=False
    )
    frame = found.to_frame().set_index("metric")
    assert found["l0"].estimate.value == frame.value["l0"]
    assert set(frame.verdict) == {"ungated"}
    assert [each.key for each in found.measurements] == found.keys()
    with pytest.raises(KeyError, match="the families that were asked for have measured"):
        found["scr:n=20"]


def test_the_example_of_the_documentation_measures_what_it_says() -> None:
    text = (ROOT / "docs" / "own-metrics.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "evaluate" in b)
    *lines, last = block.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    assert 0.9 < eval(last, names) < 1


def test_a_notebook_shows_a_table_in_which_nothing_can_run() -> None:
    found = Evaluation(
        "<b>a</b>",
        [
            Measurement("a", Estimate("l0", 24.0, se=0.5, ci=(23.0, 25.0), n={"tokens": 900})),
            Measurement("a", undefined("scr", "<script>x</script>", {"n": 20})),
        ],
    )
    html = found._repr_html_()
    assert '<th scope="row">l0</th><td></td><td>24.0000</td><td>0.5000</td>' in html
    assert "23.0000 to 25.0000</td><td>900 tokens" in html
    assert "n=20" in html
    assert "undefined: &lt;script&gt;x" in html
    assert "<script" not in html
    assert "&lt;b&gt;a" in html


def test_a_bar_tells_the_steps_only_where_it_is_wanted(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: dict[str, Any] = {"tasks": world / "data" / "tasks.toml"}
    pytest_sae.evaluate(world / "topk", **arguments, progress=False)
    assert "it/s" not in capsys.readouterr().err
    pytest_sae.evaluate(world / "topk", **arguments)
    assert "splicing reconstructions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"families": ["cor"]}, "'cor' is none. Did you mean 'core'"),
        ({"families": "core"}, "Expected a list of some of core"),
        ({"families": []}, "Expected a list"),
        ({"suite": "small"}, "expected one of smoke, standard, paper"),
        ({"dtype": "int8"}, "expected one of float32"),
        ({"device": "tpu"}, "expected one of auto, cpu"),
        ({"tasks": "nowhere.toml"}, "nowhere.toml is no file"),
        ({"sae": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_loaded(
    world: Path, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError) as caught:
        pytest_sae.evaluate(**{"sae": world / "topk", **arguments})
    assert says in str(caught.value)


def test_several_saes_are_named(tmp_path: Path) -> None:
    tiny_world(tmp_path, "topk", "standard")
    with pytest.raises(PytestSAEError, match=r"is 2 SAEs: standard, topk\. Expected one"):
        pytest_sae.evaluate(tmp_path / "[ts]*", progress=False)


def test_an_sae_that_must_not_be_evaluated_is_refused_as_in_a_run(tmp_path: Path) -> None:
    tiny_world(tmp_path, "topk")
    (tmp_path / "topk" / "sae_weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(DictionaryError):
        pytest_sae.evaluate(tmp_path / "topk", progress=False)


def test_an_sae_in_memory_is_measured_as_the_one_that_lies_on_disk(world: Path) -> None:
    from sae_lens import SAE

    data = world / "data" / "tasks.toml"
    known = SAE.load_from_disk(world / "topk")
    there, loaded = (
        pytest_sae.evaluate(sae, tasks=data, progress=False) for sae in (world / "topk", known)
    )
    assert [each.estimate for each in loaded.measurements] == [
        each.estimate for each in there.measurements
    ]
    assert loaded.sae == "in_memory"


def test_what_is_no_sae_is_refused() -> None:
    with pytest.raises(OptionError, match="sae is a list"):
        pytest_sae.evaluate([])  # type: ignore[arg-type]
