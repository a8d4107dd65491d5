"""Which files make a dictionary, found by name alone: no torch, no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
WEIGHTS = (".safetensors", ".npz", *PICKLES)
_SEARCH_DEPTH = 3


@dataclass(frozen=True)
class Layout:
    """How a family of dictionaries lies on disk: one directory, these two files.

    Args:
        family: the module of `pytest_sae.dictionaries` that reads it.
        config: name of the configuration file.
        weights: name of the weights file.
    """

    family: str
    config: str
    weights: str

    def matches(self, directory: Path) -> bool:
        """Whether both files are there."""
        return (directory / self.config).is_file() and (directory / self.weights).is_file()


LAYOUTS = (Layout("sae_lens", "cfg.json", "sae_weights.safetensors"),)


def layout_of(directory: Path) -> Layout | None:
    """Return the layout that a directory has, None if it is no dictionary."""
    return next((layout for layout in LAYOUTS if layout.matches(directory)), None)


def looks_like_dictionary(path: Path | str) -> bool:
    """Whether path is a dictionary's directory or its weights file; reads no file."""
    return _own_directory(Path(path)) is not None


def candidates(path: Path | str) -> list[Path]:
    """Return the dictionaries that path may mean, sorted: itself, or those that lie below it."""
    path = Path(path)
    own = _own_directory(path)
    return [own] if own else sorted(_below(path, _SEARCH_DEPTH))


def explain(path: Path | str) -> str:
    """Return why path is not one dictionary: what was found, what was expected, what to do."""
    path = Path(path)
    found = candidates(path)
    if not path.exists():
        return f"{path} does not exist. Expected {_expected()}: check the path."
    if len(found) > 1:
        return _several(path, found)
    if path.is_file():
        return _not_weights(path)
    return _not_directory(path)


def pickle_refused(path: Path) -> str:
    """Return why a pickle is not read, and what to do."""
    return (
        f"{path} is a pickle, which can run any code when it is opened: it was not read. "
        "Expected safetensors: convert it where you trust it, with "
        "safetensors.torch.save_file(torch.load(path, weights_only=True), ...)."
    )


def _own_directory(path: Path) -> Path | None:
    if path.is_dir():
        return path if layout_of(path) else None
    layout = layout_of(path.parent)
    return path.parent if layout and path.name == layout.weights and path.is_file() else None


def _below(path: Path, depth: int) -> list[Path]:
    if depth == 0 or not path.is_dir():
        return []
    found: list[Path] = []
    for child in path.iterdir():
        if child.is_dir():
            found += [child] if layout_of(child) else _below(child, depth - 1)
    return found


def _expected() -> str:
    return " or ".join(
        f"a directory with {layout.config} and {layout.weights}" for layout in LAYOUTS
    )


def _several(path: Path, found: list[Path]) -> str:
    names = ", ".join(str(each) for each in found[:8])
    more = f", and {len(found) - 8} more" if len(found) > 8 else ""
    pattern = path.joinpath(*["*"] * len(found[0].relative_to(path).parts))
    return (
        f"{path} holds {len(found)} candidates and is no dictionary itself: {names}{more}. "
        f"Expected one: name it, or take them all with the quoted glob '{pattern}'."
    )


def _not_weights(path: Path) -> str:
    if path.suffix in PICKLES:
        return pickle_refused(path)
    return f"{path} is a file, but no dictionary's weights. Expected {_expected()}."


def _not_directory(path: Path) -> str:
    names = sorted(child.name for child in path.iterdir())
    pickles = [name for name in names if Path(name).suffix in PICKLES]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        return pickle_refused(path / pickles[0])
    for layout in LAYOUTS:
        have = {layout.config, layout.weights} & set(names)
        if have:
            missing = ({layout.config, layout.weights} - have).pop()
            return f"{path} has {have.pop()} but no {missing}. Expected both: copy it there."
    listed = ", ".join(names[:8]) or "nothing"
    return f"{path} is no dictionary: it holds {listed}. Expected {_expected()}."
