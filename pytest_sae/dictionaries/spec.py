"""What `--sae` means: paths, globs and forced families become dictionaries with short ids."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_sae.dictionaries.formats import NAMES, registry, several
from pytest_sae.dictionaries.hub import releases
from pytest_sae.dictionaries.hub.address import SCHEME, Address, parse
from pytest_sae.dictionaries.layouts import WEIGHTS, candidates, explain
from pytest_sae.errors import DictionaryError, OptionError

# Files that training leaves beside the weights; a glob may match them.
_BESIDE = frozenset(
    {
        "sparsity.safetensors",
        "activation_whitening.safetensors",
        "activations_store_state.safetensors",
        "trainer_state.pt",
        "optimizer.pt",
        "lr_scheduler.pt",
        "state.pt",
    }
)
_SETTING = r"\w+=[^,:=]+"
# NAME@ before all of that. A drive, a family, a setting, an owner on the hub or a glob before an @
# is no name: their own @ stands behind a slash or a colon.
_CALLED = re.compile(r"(?P<name>[^@/\\:=,*?\[\]~]+)@(?P<rest>.+)", re.DOTALL)
# No + either, which parts an id from the settings that tell it from others.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._]*")
# family:path, family,name=value:path or name=value:path. A family has two letters at least and
# no slash, so that C:\saes and ./a:b stay paths.
_FORCED = re.compile(
    rf"(?:(?P<family>[A-Za-z]\w+)(?P<more>(?:,{_SETTING})*)|(?P<only>{_SETTING}(?:,{_SETTING})*))"
    r":(?P<path>.+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class SAESpec:
    """One dictionary under test, made of plain builtins.

    Args:
        id: unique in the run, made of [A-Za-z0-9._+] only, for test ids and reports.
        path: its directory or weights file.
        text: the `--sae` value that named it, as typed.
        family: the family it is forced to be, empty where its content says it.
        settings: names and values of what its files do not say.
        revision: the commit of its repository on the hub, empty for what lies elsewhere.
    """

    id: str
    path: str
    text: str
    family: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    revision: str = ""

    def __post_init__(self) -> None:
        # On the way to a worker tuples may have become lists.
        settings = tuple((str(name), str(value)) for name, value in self.settings)
        object.__setattr__(self, "settings", settings)


@dataclass(frozen=True)
class _Named:
    """A value of --sae, taken apart."""

    path: str
    family: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    called: str = ""


@dataclass(frozen=True)
class _Place:
    """A dictionary that a value of --sae names."""

    path: Path
    text: str
    family: str
    settings: tuple[tuple[str, str], ...]
    name: Path  # what its id is made of
    revision: str = ""
    called: str = ""  # its id as the user gave it

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        return os.path.realpath(self.path), self.family, self.settings

    @property
    def base(self) -> str:
        """What all share whose ids begin alike."""
        return self.called or os.path.realpath(self.path)


def resolve(texts: Sequence[str]) -> tuple[SAESpec, ...]:
    """Return the dictionaries that the values of `--sae` name, in order, each of them once.

    What lies on the hub is downloaded, so that its path is a local one from here on.

    Args:
        texts: directories, weights files, or globs (whose matches are taken in sorted order),
            each with a family and settings before it where needed: `family,k=32:path`. A path
            may be `hf:owner/repo@revision/path`; `sae_lens:release/id` is looked up in sae_lens'
            table. With the setting `at=each`, once for each site that the dictionary writes. With
            `NAME@` before all of it, the id is NAME, wherever the dictionary lies.

    Raises:
        OptionError: an unknown family, a path that is no dictionary, one that holds several, a
            glob without a match, what the hub does not give, or a name that is none or not its own.
    """
    chosen: dict[object, _Place] = {}
    for text in texts:
        for place in _places_called(_named(text), text):
            for each in _each(place):
                chosen[each.key] = _agreed(chosen.get(each.key), each)
    places = list(chosen.values())
    _check_names(places)
    return tuple(
        SAESpec(name, str(each.path), each.text, each.family, each.settings, each.revision)
        for name, each in zip(_ids(places), places, strict=True)
    )


def with_setting(text: str, name: str, value: str) -> str:
    """Return a value of `--sae` with one more setting, which is another dictionary: without a name.

    Args:
        text: as typed.
        name: of the setting.
        value: of it.

    Raises:
        OptionError: what is no value of `--sae`.

    >>> with_setting("saes/a", "k", "32"), with_setting("sae_lens,at=0:saes/a", "k", "32")
    ('k=32:saes/a', 'sae_lens,at=0,k=32:saes/a')
    """
    named = _named(text)
    settings = (f"{key}={each}" for key, each in (*named.settings, (name, value)))
    return f"{','.join(filter(None, (named.family, *settings)))}:{named.path}"


def path_of(text: str) -> str:
    """Return the path in a value of `--sae`, or what stands in its place.

    Args:
        text: as typed.

    Raises:
        OptionError: what is no value of `--sae`.

    >>> path_of("main@sae_lens,at=0:saes/a")
    'saes/a'
    """
    return _named(text).path


def _places_called(named: _Named, text: str) -> list[_Place]:
    places = _places(named, text)
    if named.called and len(places) > 1:
        raise OptionError(
            f"--sae={text} means {len(places)} dictionaries, which cannot all be called "
            f"{named.called}. Expected a name for one: {named.called}@{places[0].path}."
        )
    return [replace(each, called=named.called) for each in places]


def _agreed(before: _Place | None, place: _Place) -> _Place:
    """What is named twice, under the name that one of both gives it."""
    if before is None or not place.called:
        return before or place
    if before.called not in ("", place.called):
        raise OptionError(
            f"--sae={place.text} is the dictionary that --sae={before.text} calls {before.called}. "
            "Expected one name for it."
        )
    return place


def _check_names(places: Sequence[_Place]) -> None:
    """Refuse a name that is given to several dictionaries."""
    named: dict[str, _Place] = {}
    for each in places:
        first = named.setdefault(each.called, each)
        if each.called and first.text != each.text:
            raise OptionError(
                f"--sae={each.text}: --sae={first.text} is called {each.called} too. "
                "Expected another name for one of them."
            )


def _each(place: _Place) -> list[_Place]:
    """The place once for each site that it writes, where the user asks for all of them."""
    settings = dict(place.settings)
    if settings.get(several.AT) != several.EACH:
        return [place]
    try:
        found = several.places(place.path)
    except DictionaryError as error:
        raise OptionError(f"--sae={place.text}: {error}") from error
    return [
        replace(place, settings=_merged({**settings, several.AT: str(site)}, ())) for site in found
    ]


def _places(named: _Named, text: str) -> list[_Place]:
    family, settings = named.family, named.settings
    if named.path.startswith(SCHEME) and not _path(named.path, text).exists():
        return _on_hub(parse(named.path), text, family, settings)
    if _is_release(named, text):
        release = releases.find(named.path, text)
        return [
            replace(place, settings=_merged(releases.settings(release, place.path), settings))
            for place in _on_hub(release.address, text, release.family, ())
        ]
    return [_Place(path, text, family, settings, path) for path in _paths(named, text)]


def _on_hub(
    address: Address, text: str, family: str, settings: tuple[tuple[str, str], ...]
) -> list[_Place]:
    from pytest_sae.dictionaries.hub.fetching import fetch

    found = [(each, _one(each.path, text)) for each in fetch(address, text)]
    return [
        _Place(path, text, family, settings, _hub_name(address, path, fetched.root), fetched.commit)
        for fetched, path in found
    ]


def _hub_name(address: Address, path: Path, root: Path) -> Path:
    return Path("/", address.repo, path.relative_to(root))


def _is_release(named: _Named, text: str) -> bool:
    """Whether it is nothing on this disk, nor written as if it were."""
    local = named.path.startswith(("/", ".", "~")) or "\\" in named.path
    return (
        named.family == "sae_lens"
        and not local
        and not glob.has_magic(named.path)
        and not _path(named.path, text).exists()
    )


def _merged(
    known: Mapping[str, str], given: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**known, **dict(given)}.items()))


def _named(text: str) -> _Named:
    if "\0" in text:
        raise OptionError(f"--sae={text!r} holds a NUL character. Expected a path.")
    called = _CALLED.fullmatch(text)
    if called is None or _is_there(text):
        return _forced(text, text)
    if not _NAME.fullmatch(called["name"]):
        raise OptionError(
            f"--sae={text} begins with {called['name']!r}, which can be no name. Expected "
            "NAME@PATH, with a name of letters, digits, . and _, or a path that exists."
        )
    return replace(_forced(called["rest"], text), called=called["name"])


def _is_there(text: str) -> bool:
    """Whether it is on this disk as typed, so that no part of it means anything else."""
    path = _path(text, text)
    return path.exists() or (glob.has_magic(text) and bool(glob.glob(str(path), recursive=True)))


def _forced(said: str, text: str) -> _Named:
    """Part family and settings from a path."""
    match = _FORCED.fullmatch(said)
    if match is None or said.startswith(SCHEME) or _path(said, text).exists():
        return _Named(said)
    family = match["family"] or ""
    if family and not registry.known(family):
        raise OptionError(f"--sae={text}: {registry.unknown(family)} (No such path exists either.)")
    pairs = [each.split("=", 1) for each in (match["more"] or match["only"] or "").split(",")]
    settings = tuple(sorted((pair[0], pair[1].strip()) for pair in pairs if len(pair) == 2))
    names = [name for name, _ in settings]
    if len(set(names)) < len(names):
        raise OptionError(f"--sae={text} gives a setting twice. Expected each of them once.")
    return _Named(match["path"], family, settings)


def _ids(places: Sequence[_Place]) -> list[str]:
    """Ids as given, or by path; what tells several of one name or path apart is appended."""
    given = {each.called for each in places if each.called}
    names = {each.base: each.name for each in places if not each.called}
    by_path = dict(zip(names, _unique_ids(list(names.values()), given), strict=True))
    times = Counter(each.base for each in places)
    return _numbered(
        [
            by_path.get(each.base, each.called)
            + (_suffix(each.family, each.settings) if times[each.base] > 1 else "")
            for each in places
        ]
    )


def _suffix(family: str, settings: tuple[tuple[str, str], ...]) -> str:
    parts = [family, *(f"{name}{value}" for name, value in settings)]
    return "".join(f"+{_slug([part])}" for part in parts if part)


def _paths(named: _Named, text: str) -> list[Path]:
    if not named.path.strip():
        raise OptionError("--sae= is empty. Expected a directory, a weights file or a glob.")
    path = _path(named.path, text)
    if named.family and named.family not in NAMES:
        return [path]  # what another package does with it is its own affair
    if path.exists() or not glob.has_magic(named.path):
        return [_one(path, text)]
    return [_one(match, text) for match in _matches(path, text)]


def _path(path_text: str, text: str) -> Path:
    try:
        path = Path(path_text).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # too long a name, or the home of nobody
        raise OptionError(
            f"--sae={text} cannot be looked for ({error}). Expected a path: write it out."
        ) from error
    return path


def _matches(pattern: Path, text: str) -> list[Path]:
    everything = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    # READMEs and the like may lie there, but a directory that has lost its weights must not
    # drop out of the run unseen: it stays in, and is refused.
    matches = [path for path in everything if path.is_dir() or _is_weights(path)]
    if matches:
        return matches
    found = f"{len(everything)} other files" if everything else "nothing"
    raise OptionError(
        f"--sae={text} matches {found} in {Path.cwd()}. Expected at least one dictionary: "
        "check the pattern, and quote it so that the shell leaves it alone."
    )


def _is_weights(path: Path) -> bool:
    return path.suffix in WEIGHTS and path.name not in _BESIDE


def _one(path: Path, text: str) -> Path:
    found = candidates(path)
    if len(found) != 1:
        raise OptionError(f"--sae={text}: {explain(path)}")
    return found[0]


def _unique_ids(paths: Sequence[Path], taken: Collection[str] = ()) -> list[str]:
    parts = [Path(os.path.abspath(path)).parts[1:] for path in paths]
    lengths = [1] * len(parts)
    for _ in range(max(map(len, parts), default=0)):
        repeated = _repeated(_slugs(parts, lengths)).union(taken)
        slugs = zip(lengths, _slugs(parts, lengths), strict=True)
        lengths = [length + (slug in repeated) for length, slug in slugs]
    return _numbered(_slugs(parts, lengths), taken)


def _slugs(parts: Sequence[Sequence[str]], lengths: Sequence[int]) -> list[str]:
    return [_slug(part[-length:]) for part, length in zip(parts, lengths, strict=True)]


def _slug(parts: Sequence[str]) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "_", ".".join(parts)).lstrip(".") or "sae"


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _numbered(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    # Only paths that differ in nothing but replaced characters come here with a twin.
    unique: list[str] = []
    for name in names:
        twin, number = name, 2
        while twin in (*unique, *taken):
            twin, number = f"{name}+{number}", number + 1
        unique.append(twin)
    return unique
