"""The part of docs/formats.md about keys of configurations, drawn from what families declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_sae.dictionaries.formats import NAMES, registry
from pytest_sae.dictionaries.keys import Keys

_LISTED = 400  # characters of names in one cell

Row = tuple[str, str, str]


def document() -> str:
    """Return the section, with a table of all families."""
    lines = [("family", "keys", "what is done"), ("---",) * 3, *_rows()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""## Keys of configurations

What a configuration says is used, harmless, told in the report, or refused. A key that its family
does not declare is told; where its name is about data, model or scaling it is refused, until
`--sae=FAMILY,ignore=KEY:PATH` takes it for harmless (several are joined by `+`).

{table}

What is absent means what the version that wrote the file did: sae_lens before 3.19.2 and
transcoder_circuits trained on weights with `fold_ln`, `center_writing_weights` and
`fold_value_biases`. Of an unknown version both are tried on the first texts, and a run refuses with
both figures if they differ: say `center_writing_weights=true` or `=false`.
"""


def _rows() -> Iterator[Row]:
    seen: dict[int, str] = {}
    for name in NAMES:
        keys = registry.family(name).KEYS
        cells = list(_cells(keys, "", seen)) or [("none", "its library writes no configuration")]
        yield from ((name if place == 0 else "", *cell) for place, cell in enumerate(cells))
        for where, each in (("", keys), *keys.inside.items()):
            seen.setdefault(id(each), f"{name}{f', {where}' if where else ''}")


def _cells(keys: Keys, where: str, seen: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    within = f"in `{where}`: " if where else ""
    if id(keys) in seen:
        yield f"{within}those of {seen[id(keys)]}", ""
        return
    if keys.used:
        yield f"{within}{_names(keys.used)}", "used"
    if keys.harmless:
        yield f"{within}{len(set(keys.harmless))} more", "harmless"
    for name, meaning in keys.told.items():
        yield f"{within}`{name}`", f"told: {meaning}"
    for name, rule in keys.refused.items():
        fine = " or ".join(f"`{_list(each)}`" for each in rule.fine[:2]) or "absent"
        yield f"{within}`{name}`", f"refused unless {fine}: {rule.why}"
    if keys.strict:
        yield f"{within}any other", "refused"
    for name, inner in keys.inside.items():
        if _declared(inner) <= _declared(keys):
            yield f"in `{name}`: the same", ""
        else:
            yield from _cells(inner, name, seen)


def _declared(keys: Keys) -> set[str]:
    return {*keys.used, *keys.harmless, *keys.told, *keys.refused}


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    cut = shown[:_LISTED].rpartition(",")[0]
    return shown if len(shown) <= _LISTED else f"{cut}, …"


def _list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
