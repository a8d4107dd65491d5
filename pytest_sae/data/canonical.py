"""The published tasks: Bias in Bios and Amazon reviews (Karvonen et al. 2024, arXiv 2411.18895)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_sae.data.build import class_task, collect, corpus, spurious_task
from pytest_sae.data.hub import copied_rows, hub_rows
from pytest_sae.data.labelled_texts import LabelCodes, LabelledTexts
from pytest_sae.data.tasks import Contrast, Sizes, Tasks

#: As many texts of 128 tokens as the published reconstruction figures rest on.
CORPUS_TEXTS = 3200


def _numbered(names: str) -> dict[str, str]:
    return {str(code): name for code, name in enumerate(names.split())}


PROFESSIONS = _numbered(
    "accountant architect attorney chiropractor comedian composer dentist dietitian dj filmmaker "
    "interior_designer journalist model nurse painter paralegal pastor personal_trainer "
    "photographer physician poet professor psychologist rapper software_engineer surgeon teacher "
    "yoga_teacher"
)
GENDERS = _numbered("male female")
CATEGORIES = _numbered(
    "All_Beauty Toys_and_Games Cell_Phones_and_Accessories Industrial_and_Scientific Gift_Cards "
    "Musical_Instruments Electronics Handmade_Products Arts_Crafts_and_Sewing Baby_Products "
    "Health_and_Household Office_Products Digital_Music Grocery_and_Gourmet_Food "
    "Sports_and_Outdoors Home_and_Kitchen Subscription_Boxes Tools_and_Home_Improvement "
    "Pet_Supplies Video_Games Kindle_Store Clothing_Shoes_and_Jewelry Patio_Lawn_and_Garden "
    "Unknown Books Automotive CDs_and_Vinyl Beauty_and_Personal_Care Amazon_Fashion "
    "Magazine_Subscriptions Software Health_and_Personal_Care Appliances Movies_and_TV"
)
RATINGS = {"1.0": "1", "5.0": "5"}  # as CSV writes the column's floats


@dataclass(frozen=True)
class CanonicalDataset:
    """One of the two published sources and the tasks made of it.

    Args:
        name: the first part of its tasks' names.
        hub: its id; the last part of it is the directory's name in a local copy.
        text: the column of the texts.
        column: the label column of the intended concept and of the classes.
        spurious: the spurious concept.
        pairs: intended concepts, positive first.
        classes: of the TPP task.
        codes: what its stored labels mean, by column.
    """

    name: str
    hub: str
    text: str
    column: str
    spurious: Contrast
    pairs: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


BIAS_IN_BIOS = CanonicalDataset(
    name="bios",
    hub="LabHC/bias_in_bios",
    text="hard_text",
    column="profession",
    spurious=Contrast("gender", "male", "female"),
    pairs=(
        ("professor", "nurse"),
        ("architect", "journalist"),
        ("surgeon", "psychologist"),
        ("attorney", "teacher"),
    ),
    classes=("accountant", "architect", "attorney", "dentist", "filmmaker"),
    codes={"profession": PROFESSIONS, "gender": GENDERS},
)
AMAZON = CanonicalDataset(
    name="amazon",
    hub="canrager/amazon_reviews_mcauley_1and5",
    text="text",
    column="category",
    spurious=Contrast("rating", "1", "5"),
    pairs=(
        ("Books", "CDs_and_Vinyl"),
        ("Software", "Electronics"),
        ("Pet_Supplies", "Office_Products"),
        ("Industrial_and_Scientific", "Toys_and_Games"),
    ),
    classes=(
        "Toys_and_Games",
        "Cell_Phones_and_Accessories",
        "Industrial_and_Scientific",
        "Musical_Instruments",
        "Electronics",
    ),
    codes={"category": CATEGORIES, "rating": RATINGS},
)


def canonical_tasks(
    sizes: Sizes, seed: int, local: Path | None = None, codes: LabelCodes | None = None
) -> Tasks:
    """Return the eight SCR and two TPP tasks of the published protocol.

    The corpus is drawn from both datasets' test texts: the published stream is a web text of
    hundreds of gigabytes, of which a run reads the first 400,000 tokens.

    Args:
        sizes: how many texts are taken; published: 1000 and 250 per cell, 2000 and 500 per class.
        seed: of the choice.
        local: a directory with `bias_in_bios/` and `amazon_reviews_mcauley_1and5/`, each made by
            `save_to_disk` or holding train and test as JSON lines, CSV or parquet; None: the hub.
        codes: other meanings of coded labels, by column, in place of the published ones.

    Raises:
        DataError: a dataset that cannot be had, or too few texts.
    """
    scr, tpp, texts = [], [], list[str]()
    for dataset in (BIAS_IN_BIOS, AMAZON):
        splits = _splits(dataset, local, {**dataset.codes, **(codes or {})})
        texts += splits[1].texts
        for pair in dataset.pairs:
            name = f"{dataset.name}.{'_'.join(pair).lower()}"
            intended = Contrast(dataset.column, *pair)
            scr.append(spurious_task(name, splits, intended, dataset.spurious, sizes, seed))
        tpp.append(class_task(dataset.name, splits, dataset.column, dataset.classes, sizes, seed))
    source = f"canonical ({local or 'hub'})"
    wanted = replace(sizes, corpus_texts=sizes.corpus_texts or CORPUS_TEXTS)
    return collect(corpus(LabelledTexts(source, tuple(texts), {}), wanted, seed), scr, tpp, source)


def _splits(
    dataset: CanonicalDataset, local: Path | None, codes: LabelCodes
) -> tuple[LabelledTexts, LabelledTexts]:
    columns = (dataset.column, dataset.spurious.column)

    def split(name: str) -> LabelledTexts:
        if local is None:
            return hub_rows(dataset.hub, None, name, dataset.text, columns, codes)
        directory = local / Path(dataset.hub).name
        return copied_rows(directory, name, dataset.text, columns, codes)

    return split("train"), split("test")
