"""What is done about each key of a configuration: used, harmless, told in the report, or refused.

Every family declares the keys that its library has ever written (`KEYS`, beside its reader). A key
that it does not declare is told in the report, and refused where its name is about data, model or
scaling: what it says might change every figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pytest_sae.dictionaries.content import IGNORE, Content, ignored
from pytest_sae.errors import DictionaryError

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Words by which the name of a key is about the model, the site, the data or their scale.
_ABOUT = """
    model lm llm revision checkpoint tokenizer quantization quantized
    hook hookpoint layer layers site module submodule component head heads
    position positions pos seqpos fold folded
    data dataset corpus text texts bos eos special context ctx seq slice prompt chat template
    prepend exclude
    scale scaled scaling rescale norm norms normalize normalized normalization
    normalise normalised normalisation factor multiplier
    center centre centered centred mean std whiten whitening
"""
# Words that make a name one of training's own, or of what was found after it.
_TRAINING = """
    lr grad gradient wandb log logging loss l0 l1 batch buffer workers warmup steps seed save init
    aux auxk optimizer total dead train training
"""
_SHOWN = 80


@dataclass(frozen=True)
class Refused:
    """A key whose value changes what is measured and is not followed here.

    Args:
        fine: values under which it changes nothing; lists are written as tuples.
        why: what any other value means.
        instead: what to do about it, before taking it for harmless.
    """

    fine: tuple[object, ...]
    why: str
    instead: str = ""


@dataclass(frozen=True)
class Keys:
    """What is done about the keys of an object of a configuration.

    Args:
        used: what is measured follows them, or the weights are checked against them.
        harmless: no figure depends on them.
        told: what they mean, said in the report where they are set; no figure can follow them.
        refused: those that must have certain values.
        inside: keys of the objects among them, by name.
        strict: whether every other key is refused, whatever its name.
    """

    used: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)
    inside: Mapping[str, Keys] = field(default_factory=dict)
    strict: bool = False

    def together(self, other: Keys) -> Keys:
        """The keys of both, for files that hold two configurations in one object."""
        return Keys(
            (*self.used, *other.used),
            (*self.harmless, *other.harmless),
            {**self.told, **other.told},
            {**self.refused, **other.refused},
            {**self.inside, **other.inside},
        )


def names(text: str) -> tuple[str, ...]:
    """Return the names of keys in a text that has nothing else."""
    return tuple(text.split())


def remarks(content: Content, keys: Keys, family: str) -> tuple[str, ...]:
    """Return what the report says of a configuration's keys.

    Args:
        content: with its configuration, and the setting `ignore`.
        keys: what the family declares.
        family: its name, for the line that resolves a refusal.

    Raises:
        DictionaryError: a key that would change what is measured, and that `ignore` does not name.
    """
    return tuple(_walk(content.config, keys, "", content, family))


def _walk(
    config: Mapping[str, object], keys: Keys, within: str, content: Content, family: str
) -> Iterator[str]:
    for name, value in config.items():
        dotted = f"{within}{name if name.isidentifier() else _shown(name)}"
        inner = keys.inside.get(name)
        if inner is not None and isinstance(value, Mapping):
            yield from _walk(value, inner, f"{dotted}.", content, family)
        elif inner is None and name not in (*keys.used, *keys.harmless) and not _nothing(value):
            yield from _one(name, dotted, value, keys, content, family)


def _one(
    name: str, dotted: str, value: object, keys: Keys, content: Content, family: str
) -> Iterator[str]:
    """What is to be said of a key that is neither used nor harmless."""
    said = f"{dotted} = {_shown(value)}"
    if name in keys.told:
        if value is not False:
            yield f"{said}: {keys.told[name]}"
        return
    rule = keys.refused.get(name)
    if rule is not None and _as_tuples(value) in rule.fine:
        return
    if {name, dotted} & ignored(content):
        yield f"{said} is taken for harmless, as --sae says"
    elif rule is not None:
        raise DictionaryError(_message(said, rule, name, content, family))
    elif keys.strict or concerns(name):
        raise DictionaryError(_message(said, _UNKNOWN, name, content, family))
    else:
        yield f"{said} is no key that {family} is known to have, and nothing is done about it"


_UNKNOWN = Refused(
    (), "no key that this family is known to have, and about data, model or scaling by its name"
)


def _message(said: str, rule: Refused, name: str, content: Content, family: str) -> str:
    fine = " or ".join(_shown(_as_lists(each)) for each in rule.fine) or "a known key"
    instead = f"{rule.instead}, or " if rule.instead else ""
    return (
        f"{content.source} declares {said}: {rule.why}. Expected {fine}: {instead}if no figure "
        f"depends on it, say --sae={family},{IGNORE}={name}:{content.source}"
    )


def concerns(name: str) -> bool:
    """Return whether the name of an unknown key is about data, model or scaling."""
    words = {word.lower() for word in _WORDS.findall(name)}
    return bool(words & {*names(_ABOUT)}) and not words & {*names(_TRAINING)}


def _nothing(value: object) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _as_tuples(value: object) -> object:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _as_lists(value: object) -> object:
    return list(map(_as_lists, value)) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
