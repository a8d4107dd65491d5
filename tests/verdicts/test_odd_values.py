"""What somebody's code may give for a number: only a finite real one is ever judged as one."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from pytest_sae.gate.judged import rejudged
from tests.records.test_measured_row import GOOD, row_of


class Half(float):
    """A number of a class of its own."""


class LikeANumber:
    """Something that can be turned into a number, and is none."""

    def __float__(self) -> float:
        return 0.5


NUMBERS = {
    "an int": 1,
    "a negative zero": -0.0,
    "the smallest float": 5e-324,
    "a fraction": Fraction(1, 2),
    "a float of numpy": np.float64(0.5),
    "a half of numpy": np.float16(0.5),
    "an int of numpy": np.int64(1),
    "a subclass of float": Half(0.5),
}
NONE = {
    "nan": math.nan,
    "minus nan": -math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "nan of numpy": np.float32("nan"),
    "infinity of numpy": np.float64("inf"),
    "nothing": None,
    "true": True,
    "false": False,
    "true of numpy": np.True_,
    "a text": "0.5",
    "no text": "",
    "the text nan": "nan",
    "bytes": b"0.5",
    "a complex number": 0.5 + 0j,
    "a decimal": Decimal("0.5"),
    "a decimal nan": Decimal("nan"),
    "an int that no float can hold": 10**400,
    "a list": [0.5],
    "a tuple": (0.5,),
    "a set": {0.5},
    "a dict": {"value": 0.5},
    "an array": np.array([0.5]),
    "an array of one number": np.array(0.5),
    "an empty array": np.array([]),
    "a date": np.datetime64("2026-01-01"),
    "a tensor": torch.tensor([0.5]),
    "a tensor of one number": torch.tensor(0.5),
    "a tensor on no device": torch.empty((), device="meta"),
    "a class": float,
    "a function": math.sqrt,
    "an object": object(),
    "what can be turned into one": LikeANumber(),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_another_type_is_the_number_that_it_is(name: str) -> None:
    value = NUMBERS[name]
    row = row_of(replace(GOOD, value=value, ci=None))
    assert row.value == float(value)
    # The bound of these rows is 0.1, and 0.5 is 40 standard errors above it.
    assert row.verdict == ("pass" if float(value) > 0.4 else "fail")
    assert rejudged(row).verdict == row.verdict


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_number_is_unmeasured_and_stays_so_when_it_is_judged_again(name: str) -> None:
    row = row_of(replace(GOOD, value=NONE[name]))
    for each in (row, rejudged(row)):
        assert (each.verdict, each.value, each.red) == ("unmeasured", None, True)
        assert each.reason


#: An error of one number is that number, and there may be none.
ERRORS = NONE.keys() - {"nothing", "an array of one number", "a tensor of one number"}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_that_is_no_number_leaves_nothing_that_passes(name: str) -> None:
    row = row_of(replace(GOOD, se=NONE[name]))
    for each in (row, rejudged(row)):
        assert (each.verdict, each.red) == ("unmeasured", True)
        assert each.reason
