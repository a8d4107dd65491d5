"""Which files may make a dictionary, found by name alone: no torch, no weights are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Weights files that can be read when they are named themselves.
READABLE = (".safetensors", ".npz", ".pt", ".pth")
PICKLES = (".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
WEIGHTS = (*READABLE, *PICKLES)
#: What is appended to the name of safetensors that lie in several files, for the list of them.
INDEX = ".index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<all>\d+)\.safetensors")
_SEARCH_DEPTH = 4  # layer_12/width_16k/average_l0_82/params.npz


@dataclass(frozen=True)
class Layout:
    """How a dictionary may lie in a directory.

    Args:
        weights: path of the weights file, from the directory.
        config: name of the configuration file, None if nothing but the weights is needed.
        beside: what is read too where it is there, from the directory.
    """

    weights: str
    config: str | None
    beside: tuple[str, ...] = ()

    def matches(self, directory: Path) -> bool:
        """Whether the files are there; weights in several files by the index of these."""
        return self.weights_in(directory) is not None and (
            self.config is None or (directory / self.config).is_file()
        )

    def weights_in(self, directory: Path) -> Path | None:
        """The weights file of a directory, or the index of its shards."""
        whole = directory / self.weights
        return next((each for each in (whole, index_of(whole)) if each.is_file()), None)

    def names(self) -> str:
        """The files, as messages name them."""
        return f"{self.config} and {self.weights}" if self.config else self.weights


@dataclass(frozen=True)
class Files:
    """The files of one dictionary.

    Args:
        weights: to be read, or the index of several.
        config: to be read with it, None if there is none.
        beside: what else of its layout is there, by its name from the directory.
    """

    weights: Path
    config: Path | None
    beside: Mapping[str, Path] = field(default_factory=dict)


#: Of two with the same weights file, the first that a directory has counts.
LAYOUTS = (
    Layout("sae_weights.safetensors", "cfg.json", beside=("activation_scaler.json",)),
    Layout("sae_weights.safetensors", "config.json"),
    Layout("sae.safetensors", "cfg.json", beside=("../config.json", "../../config.json")),
    Layout("ae.pt", "config.json"),
    Layout("sae.pt", "config.json"),
    Layout("checkpoints/final.safetensors", "hyperparams.json"),
    Layout("latest_ckpt.safetensors", "conf.yaml"),
    Layout("params.safetensors", "config.json"),
    Layout("params.safetensors", None),
    Layout("params.npz", "config.json"),
    Layout("params.npz", None),
)
#: The names of their configurations, as messages list them.
CONFIGURATIONS = ", ".join(dict.fromkeys(each.config for each in LAYOUTS if each.config))


def layouts_of(directory: Path) -> list[Layout]:
    """Return the layouts that a directory has, one for each weights file."""
    found: dict[str, Layout] = {}
    for layout in LAYOUTS:
        if layout.matches(directory):
            found.setdefault(layout.weights, layout)
    return list(found.values())


def files_of(place: Path) -> Files | None:
    """Return the files of a candidate: a directory of one layout, or a weights file."""
    if place.is_dir():
        layouts = layouts_of(place)
        return _files(place, layouts[0]) if len(layouts) == 1 else None
    place = _whole(place)
    directory = _directory_of(place)
    if directory is not None:
        own = [each for each in layouts_of(directory) if each.weights_in(directory) == place]
        return _files(directory, own[0]) if own else None
    return _alone(place) if _readable(place) else None


def index_of(weights: Path) -> Path:
    """Return where the index lies of weights that lie in several files."""
    return weights.with_name(f"{weights.name}{INDEX}")


def index_of_part(name: str) -> str:
    """Return the name of the index of the weights that a file is a part of; empty for others."""
    shard = _SHARD.fullmatch(name)
    return f"{shard['stem']}.safetensors{INDEX}" if shard else ""


def shards(names: Iterable[str], weights: str) -> list[str]:
    """Return those of some names that are parts of weights which lie in several files.

    Args:
        names: of files, with / between parts.
        weights: the name that they had in one file.
    """
    stem = weights.removesuffix(".safetensors")
    return [each for each in names if (found := _SHARD.fullmatch(each)) and found["stem"] == stem]


def beside_alone(weights: str) -> tuple[str, str]:
    """Return what may belong to a weights file of no layout: `NAME_cfg.json`, and a README.

    Args:
        weights: its name, with / between parts.
    """
    directory, _, name = weights.rpartition("/")
    up = f"{directory}/" if directory else ""
    return f"{up}{name.rpartition('.')[0]}_cfg.json", f"{up}README.md"


def looks_like_dictionary(path: Path | str) -> bool:
    """Whether path may be a dictionary's directory or its weights file; reads no file."""
    return len(_own(Path(path))) == 1


def candidates(path: Path | str) -> list[Path]:
    """Return what path may mean, sorted: itself, or the dictionaries that lie below it."""
    path = Path(path)
    return _own(path) or sorted(_below(path, _SEARCH_DEPTH))


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
        f"{path} is a pickle that can run code when it is opened, or that says nothing of its "
        "size: it was not read. Expected tensors alone: convert it where you trust it, with "
        "safetensors.torch.save_file({name: tensor, ...}, 'sae.safetensors')."
    )


def _own(path: Path) -> list[Path]:
    """The path itself; its directory, where that is the same; its weights files, if several."""
    if path.is_dir():
        layouts = layouts_of(path)
        return [path] if len(layouts) == 1 else [_files(path, each).weights for each in layouts]
    path = _whole(path)
    if not _readable(path):
        return []
    directory = _directory_of(path)
    return [directory if directory is not None and len(layouts_of(directory)) == 1 else path]


def _whole(path: Path) -> Path:
    """The index of the weights that a file is a part of, where it is one; else the file."""
    index = path.with_name(index_of_part(path.name) or path.name)
    return index if index.is_file() else path


def _readable(path: Path) -> bool:
    """Whether a file may hold all of a dictionary's weights, or says where they are."""
    kind = path.name.endswith(f".safetensors{INDEX}") or path.suffix in READABLE
    return kind and path.is_file() and not _SHARD.fullmatch(path.name)


def _directory_of(path: Path) -> Path | None:
    """The directory whose layout names this weights file, or this index of weights."""
    for layout in LAYOUTS:
        depth = len(Path(layout.weights).parts) - 1
        whole = path.with_name(path.name.removesuffix(INDEX))
        if len(path.parents) > depth and path.parents[depth] / layout.weights == whole:
            directory = path.parents[depth]
            if layout.matches(directory):
                return directory
    return None


def _alone(weights: Path) -> Files:
    """The files of weights that lie as no layout has them: a configuration of their own name."""
    config, readme = (weights.with_name(each) for each in beside_alone(weights.name))
    there = {readme.name: readme} if readme.is_file() else {}
    return Files(weights, config if config.is_file() else None, there)


def _files(directory: Path, layout: Layout) -> Files:
    config = directory / layout.config if layout.config else None
    beside = {each: Path(os.path.abspath(directory / each)) for each in layout.beside}
    there = {name: path for name, path in beside.items() if path.is_file()}
    return Files(layout.weights_in(directory) or directory / layout.weights, config, there)


def _below(path: Path, depth: int) -> list[Path]:
    if depth == 0 or not path.is_dir():
        return []
    found: list[Path] = []
    for child in path.iterdir():
        if child.is_dir():
            found += _own(child) or _below(child, depth - 1)
    return found


def _expected() -> str:
    known = ", ".join(layout.names() for layout in LAYOUTS)
    return f"a directory with one of: {known}; or one file ({', '.join(READABLE)}) by its path"


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
    if shard := _SHARD.fullmatch(path.name):
        return _part_alone(path, shard)
    return f"{path} is a file, but no dictionary's weights. Expected {_expected()}."


def _part_alone(path: Path, shard: re.Match[str]) -> str:
    return (
        f"{path} is part {int(shard['number'])} of {int(shard['all'])} of one dictionary's weights,"
        f" and their list {shard['stem']}.safetensors{INDEX} is not beside it. Expected it there: "
        "copy or download it and all parts, and pass their directory."
    )


def _not_directory(path: Path) -> str:
    names = sorted(child.name for child in path.iterdir())
    for name in names:
        if shard := _SHARD.fullmatch(name):
            return _part_alone(path / name, shard)
    for layout in LAYOUTS:
        have = {layout.config, layout.weights} & set(names)
        if layout.config and len(have) == 1:
            missing = ({layout.config, layout.weights} - have).pop()
            if missing == layout.weights and any(Path(name).suffix in WEIGHTS for name in names):
                continue  # weights of another name are said below
            return f"{path} has {have.pop()} but no {missing}. Expected both: copy it there."
    listed = ", ".join(names[:8]) or "nothing"
    readable = [name for name in names if Path(name).suffix in READABLE]
    if readable:
        return (
            f"{path} is no dictionary: it holds {listed}, none under a name that is known. "
            f"Expected {_expected()}: name a file itself, such as {path / readable[0]}."
        )
    pickles = [name for name in names if Path(name).suffix in PICKLES]
    if pickles:
        return pickle_refused(path / pickles[0])
    return f"{path} is no dictionary: it holds {listed}. Expected {_expected()}."
