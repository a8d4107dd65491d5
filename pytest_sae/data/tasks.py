"""What a task is: texts, labels, splits, what the labels mean, and a name by content."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_sae.data.attributes import AttributeTask, PrincipledSizes
from pytest_sae.data.entities import EntityTask, RavelSizes
from pytest_sae.data.preferences import Preferences
from pytest_sae.data.senses import SensesSizes, SensesTask
from pytest_sae.data.unlearning import UnlearningSizes, UnlearningTask


@dataclass(frozen=True)
class Sizes:
    """How many texts are taken; None means all there are, and fewer are taken where fewer are.

    Args:
        corpus_texts: texts of the corpus.
        train_per_cell: of each of the four cells of an SCR task.
        test_per_cell: the same in the test split.
        train_per_class: of each class of a TPP task.
        test_per_class: the same in the test split.
        ravel: of RAVEL tasks.
        principled: of tasks whose attributes are known.
        unlearning: of what is forgotten and retained.
        senses: of pairs of sentences with one word.
    """

    corpus_texts: int | None = None
    train_per_cell: int | None = None
    test_per_cell: int | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None
    ravel: RavelSizes = field(default_factory=RavelSizes)
    principled: PrincipledSizes = field(default_factory=PrincipledSizes)
    unlearning: UnlearningSizes = field(default_factory=UnlearningSizes)
    senses: SensesSizes = field(default_factory=SensesSizes)


@dataclass(frozen=True)
class SpuriousTexts:
    """One split of an SCR task; the four cells have the same size and stand mixed.

    Args:
        texts: each of them once.
        intended: per text, whether it has the positive value of the intended concept.
        spurious: per text, whether it has the positive value of the spurious concept.
    """

    texts: tuple[str, ...]
    intended: tuple[bool, ...]
    spurious: tuple[bool, ...]


@dataclass(frozen=True)
class Contrast:
    """A concept with two values.

    Args:
        column: the label column that holds it.
        positive: the value that counts as positive, as text.
        negative: the other one.
        words: that tell the two apart, in lower case; empty where the training texts are to say.
    """

    column: str
    positive: str
    negative: str
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As people and judges read it."""
        return f"{self.column}: {self.positive} or {self.negative}"


@dataclass(frozen=True)
class SpuriousTask:
    """An SCR task: two concepts that the confounded probe cannot tell apart.

    Args:
        name: unique among the SCR tasks.
        intended: the concept that the probe should read.
        spurious: the concept that it should not.
        train: balanced over the four cells.
        test: balanced over the four cells.
        dropped: train texts of the four cells left out because they stand in the test split.
        repeated: texts of the four cells left out because they stand twice in their split (all
            copies, where these have different labels).
        fingerprint: sha256 of the name, the concepts, the texts and their labels.
    """

    name: str
    intended: Contrast
    spurious: Contrast
    train: SpuriousTexts
    test: SpuriousTexts
    dropped: int
    fingerprint: str
    repeated: int = 0


@dataclass(frozen=True)
class ClassTexts:
    """One split of a TPP task; the classes have the same size and stand mixed.

    Args:
        texts: each of them once.
        labels: per text, the index of its class in the task's `classes`.
    """

    texts: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ClassTask:
    """A TPP task: classes, of which each gets a probe against the rest.

    Args:
        name: unique among the TPP tasks.
        column: the label column.
        classes: its values that take part, in the order that labels count.
        train: balanced over the classes.
        test: balanced over the classes.
        dropped: train texts of these classes left out because they stand in the test split.
        repeated: as in `SpuriousTask`.
        fingerprint: sha256 of the name, the classes, the texts and their labels.
    """

    name: str
    column: str
    classes: tuple[str, ...]
    train: ClassTexts
    test: ClassTexts
    dropped: int
    fingerprint: str
    repeated: int = 0


@dataclass(frozen=True)
class SharedTask:
    """Classes that several data sets share, such as one in each of several languages.

    Args:
        name: unique among the transfer tasks.
        parts: one per data set, with the same column and classes; no text that is trained on in
            one is tested on in another.
    """

    name: str
    parts: tuple[ClassTask, ...]


@dataclass(frozen=True)
class Corpus:
    """Unlabelled texts for reconstruction and behaviour, each of them once."""

    texts: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Spelling:
    """The first-letter task that absorption is measured on.

    Args:
        words: one-token words, None for those of the model's vocabulary.
        examples: spelled words in front of each word.
    """

    words: tuple[str, ...] | None = None
    examples: int = 10


@dataclass(frozen=True)
class LeftOut:
    """A table of the data that could not be used; the others are.

    Args:
        kind: of the table, such as `scr`.
        name: of the task; empty for a table that there is one of.
        reason: what is wrong, where, and what to do.
    """

    kind: str
    name: str
    reason: str

    @property
    def told(self) -> str:
        """Which table it is, as it stands in the task file."""
        return f"[[{self.kind}]] {self.name}" if self.name else f"[{self.kind}]"


@dataclass(frozen=True)
class Tasks:
    """Everything that a run measures on.

    Args:
        corpus: None where the source has none.
        scr: in the order of the source.
        tpp: in the order of the source.
        source: where it comes from, for people.
        fingerprint: sha256 of all parts, wherever their files lie.
        ravel: in the order of the source.
        principled: in the order of the source.
        unlearning: in the order of the source.
        preferences: pairs of replies, None where the source has none.
        spelling: how words are spelled; the default where the source says nothing of it.
        transfer: in the order of the source.
        senses: in the order of the source.
        left_out: tables that could not be used, in the order of the source.
    """

    corpus: Corpus | None
    scr: tuple[SpuriousTask, ...]
    tpp: tuple[ClassTask, ...]
    source: str
    fingerprint: str
    ravel: tuple[EntityTask, ...] = ()
    principled: tuple[AttributeTask, ...] = ()
    unlearning: tuple[UnlearningTask, ...] = ()
    preferences: Preferences | None = None
    spelling: Spelling = Spelling()
    transfer: tuple[SharedTask, ...] = ()
    senses: tuple[SensesTask, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def labelled(self) -> tuple[SpuriousTask | ClassTask, ...]:
        """Everything whose texts are pooled and probed."""
        parts = (part for task in self.transfer for part in task.parts)
        return (*self.scr, *self.tpp, *parts)

    def unusable(self, *kinds: str) -> str:
        """Return why tables of some kinds were left out, empty if none was.

        Args:
            kinds: such as `scr`.
        """
        return "; ".join(
            f"{each.told} was left out: {each.reason}"
            for each in self.left_out
            if each.kind in kinds
        )
