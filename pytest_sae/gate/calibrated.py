"""What calibration found, and the file of bounds that says so.

Calibration.text() -> the file; Calibration.told() -> a few lines for people
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

_WIDTH = 100
_NAMED = 4  # rules that are named


@dataclass(frozen=True)
class Calibrated:
    """The rule of one metric at one setting, and what it is worth.

    Args:
        key: metric and setting as one word.
        bound: a line of TOML, empty where the rule does not gate.
        why: it does not gate.
        range: what the good SAEs surely reach, for people.
        judged: the good SAEs that it rests on.
        alarms: those of them that it would have called bad, had it been made from the others; None
            where they are too few to leave one out.
        bads: whether each bad SAE is red by it.
        controls: whether each worthless control would be, as if it were an SAE.
        damages: whether each damaged copy of a good SAE is.
        regression: a line of TOML, empty for none.
    """

    key: str
    bound: str = ""
    why: str = ""
    range: str = ""
    judged: tuple[str, ...] = ()
    alarms: tuple[str, ...] | None = None
    bads: Mapping[str, bool] = field(default_factory=dict)
    controls: Mapping[str, bool] = field(default_factory=dict)
    damages: Mapping[str, bool] = field(default_factory=dict)
    regression: str = ""

    @property
    def reason(self) -> str:
        """Why the rule is what it is, with figures."""
        if not self.bound:
            return self.why
        return "; ".join(filter(None, (
            f"{len(self.judged)} good SAEs surely reach {self.range}",
            self._left_out(),
            *_caught("", self.bads),
            *_caught("controls ", self.controls),
            *_caught("damages ", self.damages),
        )))  # fmt: skip

    def _left_out(self) -> str:
        if self.alarms is None:
            return "too few of them to leave one out"
        named = f" ({', '.join(self.alarms)})" if self.alarms else ""
        return f"leave-one-out false alarms {len(self.alarms)} of {len(self.judged)}{named}"

    def lines(self) -> list[str]:
        """Return its table in TOML."""
        body = [self.bound, self.regression] if self.bound else ["gate = false"]
        return [table(self.key), *filter(None, body), f"reason = {_quoted(self.reason)}"]


def table(key: str) -> str:
    """Return the header of a metric's table.

    Args:
        key: metric and setting as one word.
    """
    bare = key.isascii() and key.isidentifier()
    return f"[metrics.{key if bare else _quoted(key)}]"


def _quoted(text: str) -> str:
    # JSON's strings are TOML's, as long as nothing beyond ASCII is escaped.
    return json.dumps(text, ensure_ascii=False)


def _caught(what: str, red: Mapping[str, bool]) -> Iterator[str]:
    for told, wanted in (("catches", True), ("lets pass", False)):
        names = [name for name, each in red.items() if each is wanted]
        if names:
            yield f"{told} {what}{', '.join(names)}"


@dataclass(frozen=True)
class Calibration:
    """All rules that were made from SAEs that are known.

    Args:
        good: names of the good SAEs.
        bad: names of the bad ones.
        rate: share of SAEs like the good ones that miss a bound.
        rules: in the order of reports.
        unmeasured: metrics that no good SAE has a value of.
        damaged: what is wrong with each damaged copy of a good SAE.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
    rate: float
    rules: tuple[Calibrated, ...]
    unmeasured: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def gating(self) -> tuple[Calibrated, ...]:
        """The rules that gate."""
        return tuple(each for each in self.rules if each.bound)

    @property
    def uncaught(self) -> tuple[str, ...]:
        """The bad SAEs that no rule calls bad."""
        return tuple(
            name for name in self.bad if not any(each.bads.get(name) for each in self.gating)
        )

    @property
    def alarms(self) -> tuple[str, ...]:
        """The good SAEs that some rule would have called bad, had it been made without them."""
        return tuple(
            name for name in self.good if any(name in (each.alarms or ()) for each in self.gating)
        )

    def told(self) -> list[str]:
        """Return in a few sentences what was found."""
        count = f"{len(self.gating)} of {len(self.rules)} rules gate"
        caught = [name for name in self.bad if name not in self.uncaught]
        sentences = (
            f"{count}, made from {len(self.good)} good SAEs: {', '.join(self.good)}.",
            f"Each bound is missed by {self.rate:.2g} of SAEs like them, if they are normally "
            "distributed; that is more, over all bounds together.",
            self._left_out(),
            f"Red by at least one rule: {', '.join(caught)}." if caught else "",
            f"Bad, and green by every rule: {', '.join(self.uncaught)}." if self.uncaught else "",
            _damages(self.gating),
            *self._of_damages(),
        )
        return [each for each in sentences if each]

    def _left_out(self) -> str:
        if len(self.good) < 3:
            return "Too few good SAEs to leave one out: three are needed, better five."
        named = f" ({', '.join(self.alarms)})" if self.alarms else ""
        return (
            f"Left out in turn, {len(self.alarms)} of {len(self.good)} good SAEs{named} "
            "would have been red by at least one rule."
        )

    def _of_damages(self) -> Iterator[str]:
        """Say of each damaged copy by which rules it is red."""
        for name in self.damaged:
            held = [each for each in self.gating if name in each.damages]
            red = [each.key for each in held if each.damages[name]]
            named = f": {', '.join(red[:_NAMED])}{', ...' * (len(red) > _NAMED)}" if red else ""
            yield f"Damage {name} is red by {len(red)} of {len(held)} rules{named}."

    def text(self) -> str:
        """Return the file of bounds."""
        head = ["Made by pytest-sae calibrate.", *self.told()]
        if self.unmeasured:
            head.append(f"No good SAE has a value of: {', '.join(self.unmeasured)}.")
        tables = ["\n".join(each.lines()) for each in self.rules]
        return "\n\n".join(["\n".join([*_comment(head), "version = 1"]), *tables]) + "\n"


def _damages(rules: Sequence[Calibrated]) -> str:
    """Return how many of the rules that each damage can be held to are red for it."""
    names = dict.fromkeys(name for each in rules for name in each.controls)
    counted = [
        f"{name} {sum(held)} of {len(held)}"
        for name in names
        if (held := [each.controls[name] for each in rules if name in each.controls])
    ]
    told = f"Rules by which a control is red as if it were an SAE: {', '.join(counted)}."
    return told if counted else ""


def _comment(sentences: Iterable[str]) -> list[str]:
    return [
        f"# {line}"
        for each in sentences
        for line in wrap(each, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    ]
