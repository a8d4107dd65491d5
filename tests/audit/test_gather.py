"""The smoke audit: a real panel on a real small world, measured and asked everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sae.activations.store import Store
from pytest_sae.audit.document import BY_HAND, document
from pytest_sae.audit.gather import SIZES, Bench, audited
from pytest_sae.audit.panel_checks import unsound
from pytest_sae.audit.summary import audit_record, world_record
from pytest_sae.audit.values import WorldAudit
from pytest_sae.families.registry import card_of, known
from pytest_sae.records.audit import Audit
from pytest_sae.records.schema import checked
from pytest_sae.session.threads import threads
from pytest_sae.synthetic.recovery import agreement

SIZE = SIZES["smoke"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with threads(1):
        yield Bench(SIZE.worlds[0], SIZE, Store(None))


@pytest.fixture(scope="module")
def gathered(bench: Bench) -> WorldAudit:
    found = [o for seed in range(SIZE.reseeds + 1) for o in bench.measure(seed)]
    return WorldAudit("smoke", bench.standings, tuple(found))


def test_the_smoke_panel_is_sound(gathered: WorldAudit):
    assert unsound(gathered) == []


def test_everybody_is_measured_at_seed_0_and_some_trained_ones_again(gathered: WorldAudit):
    by_seed = {
        seed: {o.member for o in gathered.observations if o.seed == seed} for seed in range(3)
    }
    assert by_seed[0] == {each.member for each in gathered.standings}
    assert by_seed[1] == by_seed[2]
    trained = {each.member for each in gathered.standings if each.kind == "trained"}
    assert by_seed[1] < trained


def test_the_oracle_reconstructs_everything(gathered: WorldAudit):
    values = {(o.member, o.metric): o.value for o in gathered.observations if o.seed == 0}
    assert values["oracle", "explained_variance"] == pytest.approx(1, abs=1e-6)
    assert values["random", "explained_variance"] < 0.5


def test_measuring_again_gives_the_same_values_to_the_bit(bench: Bench, gathered: WorldAudit):
    member = bench.members[0].name
    again = [o for o in bench.measure(1) if o.member == member]
    assert again == [o for o in gathered.observations if (o.member, o.seed) == (member, 1)]


def test_the_record_fits_the_schema_and_the_document_names_every_metric(gathered: WorldAudit):
    record = checked(Audit, audit_record("smoke", [world_record(gathered)]))
    told = document(record, "By hand.")
    table = told.partition("## ")[0]
    measured = {o.metric for o in gathered.observations} & set(known())
    assert {"explained_variance", "scr.margin", "tpp.canonical"} <= measured
    for metric in measured:
        assert f"| {metric}" in table
    assert told.rstrip().endswith(f"{BY_HAND}\n\nBy hand.")
    assert set(audited()) >= {"core", "scr", "tpp", "erasure", "sparse_probing", "structure"}
    assert {"erasure", "sparse_probing.gain", "mdl", "coherence", "concept_deletion"} <= measured
    assert table.count("| sparse_probing.gain:k=") == 1


def test_what_is_erased_is_compared_with_the_features_of_its_own_tasks(bench: Bench):
    few = bench._first.concepts.first(*2 * [card_of("erasure").audited_tasks])
    truth = bench._world.sample(SIZE.tokens, SIZE.worlds[0].seed, "truth")
    member, standing = bench.members[0], bench.standings[0]
    wanted = agreement(member.dictionary, truth, bench._world.rows).of(few.features)
    assert standing.about("erasure").both == standing.erased.both == wanted.both


def test_the_first_tasks_are_about_some_of_the_features(bench: Bench):
    whole = bench._first.concepts
    assert set(whole.first(1, 1).features) < set(whole.features)
    assert set(whole.first(9, 9).features) == set(whole.features)


def test_a_perfect_dictionary_erases_better_than_every_control(gathered: WorldAudit):
    values = {o.member: o.value for o in gathered.observations
              if (o.metric, o.setting, o.seed) == ("erasure", "", 0)}  # fmt: skip
    assert values["oracle"] > 0.5 > max(values["random"], values["permuted_decoder"])
