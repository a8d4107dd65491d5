"""The front matter of a README of the hub: what its author says of a model in YAML."""

from __future__ import annotations

from pathlib import Path

_MOST_BYTES = 2**16
_FENCE = "---"


def read_card(path: Path) -> dict[str, object]:
    """Return the front matter of a README, empty where it has none that can be read.

    Nothing that is measured depends on it: it only helps messages to say more.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "ignore")
        first, _, rest = text.replace("\r\n", "\n").partition("\n")
        head, fence, _ = rest.partition(f"\n{_FENCE}\n")
        found = yaml.safe_load(head) if first.strip() == _FENCE and fence else None
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
