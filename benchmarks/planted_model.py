"""A language model whose residual stream has features by construction: built, not trained.

    planted = Planted()
    planted.model                       # a GPT-2 of two blocks, as a run has models
    planted.rows, planted.names         # (F, d_model) what is written, and what it stands for
    planted.corpus(100, seed=0)         # texts that the model itself finds likely
    planted.known                       # every activation there can be, with its features

A token's embedding writes what is true of its word: its first letter, its class, what it is about,
of an entity its country, language and food, and the word itself. Block 0 moves the topic of a
text's first word to all others, and an entity's attributes to the word that asks for one of them.
At its output, the *site*, the stream is the sum of these features, in superposition. Block 1 says
the value of the attribute that is asked for; the unembedding reads which class comes next, and of
which topic. Norms do nothing: their epsilon is so large that all are divided by the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.models.model import LanguageModel
from pytest_sae.numbers.bootstrap import generator

Ints = NDArray[np.int64]

SITE = "blocks.0.hook_resid_post"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWX"
WORDS = 22  # of each letter
D = 64  # of the stream are for features; the other coordinates are 0 at the site
TOPICS = 6
CYCLE = 5  # classes of ordinary words, each followed by the next
ENTITY, ASKING, ANSWER, HEADING = range(CYCLE, CYCLE + 4)  # classes of the other words
ATTRIBUTES = {"country": 5, "language": 5, "food": 3}
ASKERS = 4  # words that ask for an attribute
LENGTH = 16  # tokens of a text
_VALUES = sum(ATTRIBUTES.values())
_SPECIAL = ("<pad>", "<bos>", "<unk>")
_OF_WORD, _OF_CONTEXT = 0.7, 0.8  # how strongly; everything else at 1
_FLAT = 1e4  # epsilon of the norms


@dataclass(frozen=True)
class Word:
    """A word, which is one token.

    Args:
        text: as it is spelled.
        place: among the words.
        kind: its class.
        about: its topic, None for none.
        values: of an entity, the value of each attribute.
        asks: of an asking word, the attribute.
        answers: of an answer, the value among those of all attributes.
    """

    text: str
    place: int
    kind: int
    about: int | None = None
    values: tuple[int, ...] = ()
    asks: int | None = None
    answers: int | None = None

    @property
    def token(self) -> int:
        """Its id."""
        return self.place + len(_SPECIAL)


class Planted:
    """The model, its words, and its truth.

    Args:
        seed: of words, directions and texts.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        rng = generator(seed, "planted", "words")
        self.words = _words(rng)
        self.names = [
            *(f"letter {each}" for each in LETTERS),
            *(f"class {each}" for each in range(CYCLE + 4)),
            *(f"about {each}" for each in range(TOPICS)),
            *(f"in a text about {each}" for each in range(TOPICS)),
            *(f"{name} {value}" for name, count in ATTRIBUTES.items() for value in range(count)),
            *(f"asks for {name}" for name in ATTRIBUTES),
            *(f"word {each.text}" for each in self.words),
        ]
        self._index = {name: place for place, name in enumerate(self.names)}
        rows = generator(seed, "planted", "rows").standard_normal((len(self.names), D))
        rows -= rows.mean(1, keepdims=True)  # so that norms, which take the mean, change nothing
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._planted = torch.as_tensor(rows, dtype=torch.float32)
        self._turn = _turn(generator(seed, "planted", "basis"))

    @property
    def asked(self) -> Ints:
        """(feature,) those that say more than which word it is."""
        return np.arange(len(self.names) - len(self.words))

    @cached_property
    def rows(self) -> Tensor:
        """(F, d_model) unit vectors."""
        plain = torch.cat([self._planted, torch.zeros(len(self.names), _WIDTH - D)], dim=1)
        return plain @ self._turn

    @cached_property
    def entities(self) -> list[Word]:
        """One for every combination of values."""
        return [each for each in self.words if each.values]

    def number(self, name: str) -> int:
        """Return the index of a feature."""
        return self._index[name]

    def features(self, word: Word, topic: int | None = None, entity: Word | None = None) -> Tensor:
        """Return (F,) what is true of a word in its context.

        Args:
            word: which.
            topic: of the text, as its first word says it.
            entity: the one before it, which matters to a word that asks.
        """
        found = torch.zeros(len(self.names))
        found[self.number(f"word {word.text}")] = _OF_WORD
        found[self.number(f"letter {word.text[0].upper()}")] = 1.0
        found[self.number(f"class {word.kind}")] = 1.0
        if word.about is not None:
            found[self.number(f"about {word.about}")] = 1.0
        if word.asks is not None:
            found[self.number(f"asks for {list(ATTRIBUTES)[word.asks]}")] = 1.0
        if topic is not None:
            found[self.number(f"in a text about {topic}")] = _OF_CONTEXT
        for who in filter(None, (word, entity)):
            for name, value in zip(ATTRIBUTES, who.values, strict=bool(who.values)):
                found[self.number(f"{name} {value}")] = 1.0
        return found

    @cached_property
    def known(self) -> tuple[Tensor, Tensor]:
        """Every activation that there can be at the site, (n, d_model), and its features."""
        topics = [None, *range(TOPICS)]
        cases = [(word, topic, None) for word, topic in product(self.words, topics)]
        cases += [
            (word, topic, entity)  # type: ignore[misc]
            for word, topic, entity in product(self._asking, topics, self.entities)
        ]
        features = torch.stack([self.features(*case) for case in cases])
        return features @ self.rows, features

    @property
    def _asking(self) -> list[Word]:
        return [each for each in self.words if each.asks is not None]

    @cached_property
    def model(self) -> LanguageModel:
        """The model, as a run has it."""
        hf = self._built()
        tokenizer = _tokenizer([each.text for each in self.words])
        mark = hashlib.sha256(b"".join(p.numpy().tobytes() for p in hf.parameters())).hexdigest()
        return LanguageModel(hf, tokenizer, "planted", mark, f"planted {self.seed}")

    def corpus(self, texts: int, seed: int) -> list[str]:
        """Return distinct texts of LENGTH words that the model's own features make likely.

        The first word says a topic in four of five texts; no later one does, and a text has one
        entity at most.
        """
        rng = generator(seed, "planted", "corpus")
        drawn = [self._text(rng) for _ in range(texts)]
        return list(dict.fromkeys(drawn))

    def _text(self, rng: np.random.Generator) -> str:
        kinds = np.array([each.kind for each in self.words])
        first = HEADING if rng.random() < 0.8 else 0
        said = [self.words[int(rng.choice(np.flatnonzero(kinds == first)))]]
        while len(said) < LENGTH:
            logits = self._likely(said)
            entered = any(each.values for each in said)
            logits[(kinds == HEADING) | ((kinds == ENTITY) & entered)] = -np.inf
            logits += rng.gumbel(size=len(logits))
            said.append(self.words[int(logits.argmax())])
        return " ".join(each.text for each in said)

    def _likely(self, said: Sequence[Word]) -> NDArray[np.float32]:
        """(word,) logits of the next word, from what is true of the last one."""
        last = said[-1]
        topic = said[0].about if said[0].kind == HEADING else None
        entity = next((each for each in said if each.values), None)
        moved = entity if last.asks is not None else None
        logits: NDArray[np.float32] = (self._next @ self.features(last, topic, moved)).numpy()
        if moved is not None and last.asks is not None:
            logits[self._answer(last.asks, moved.values[last.asks]).place] += _SURE
        return logits

    def _answer(self, attribute: int, value: int) -> Word:
        place = sum(list(ATTRIBUTES.values())[:attribute]) + value
        return next(each for each in self.words if each.answers == place)

    def answer(self, attribute: int, entity: Word) -> str:
        """Return the word that is right when an entity's attribute is asked for."""
        return self._answer(attribute, entity.values[attribute]).text

    def asking(self, attribute: int) -> list[str]:
        """Return the words that ask for an attribute."""
        return [each.text for each in self.words if each.asks == attribute]

    @cached_property
    def _next(self) -> Tensor:
        """(word, F) by how much a feature of a token raises the word that comes next."""
        raised = torch.zeros(len(self.words), len(self.names))
        following = {
            **{each: [(each + 1) % CYCLE] for each in range(CYCLE)},
            CYCLE - 1: [0, ENTITY], ENTITY: [ASKING], ASKING: [ANSWER], ANSWER: [0], HEADING: [0],
        }  # fmt: skip
        for word in self.words:
            for before, after in following.items():
                if word.kind in after:
                    raised[word.place, self.number(f"class {before}")] = 7.0
            if word.about is not None and word.kind < CYCLE:
                raised[word.place, self.number(f"in a text about {word.about}")] = 3.0
        return raised

    @cached_property
    def _readers(self) -> Tensor:
        """(F, D) that read every feature from an activation as well as a linear map can."""
        features = self.known[1].double()
        x = features @ self._planted.double()
        found: Tensor = torch.linalg.pinv(x.T @ x, rtol=1e-9) @ (x.T @ features)
        return found.T.float()

    @torch.no_grad()
    def _built(self) -> Any:
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=len(_SPECIAL) + len(self.words), n_positions=128, n_embd=_WIDTH, n_layer=2,
            n_head=2, n_inner=32, activation_function="relu", layer_norm_epsilon=_FLAT,
            tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        )  # fmt: skip
        hf: Any = GPT2LMHeadModel(config).eval().requires_grad_(False)
        for parameter in hf.parameters():
            parameter.zero_()
        for norm in (hf.transformer.ln_f, *(b.ln_1 for b in hf.transformer.h),
                     *(b.ln_2 for b in hf.transformer.h)):  # fmt: skip
            norm.weight.fill_(_FLAT**0.5)
        hf.transformer.wte.weight.copy_(self._embedding())
        self._attend(hf.transformer.h[0].attn)
        _forget(hf.transformer.h[0].mlp)
        self._say(hf.transformer.h[1].mlp)
        hf.lm_head.weight[len(_SPECIAL) :, :D] = self._next @ self._readers
        for each in self.words:
            if each.answers is not None:
                hf.lm_head.weight[each.token, _FLAG["value"] + each.answers] = _SURE
        self._rotate(hf)
        return hf

    def _rotate(self, hf: Any) -> None:
        """Turn the stream, so that no coordinate means anything by itself."""
        parts = [part for block in hf.transformer.h for part in (block.attn, block.mlp)]
        for each in (hf.transformer.wte, hf.lm_head, *(part.c_proj for part in parts)):
            each.weight.copy_(each.weight @ self._turn)
        for part in parts:
            reads = part.c_attn if hasattr(part, "c_attn") else part.c_fc
            reads.weight.copy_(self._turn.T @ reads.weight)

    def _embedding(self) -> Tensor:
        """(token, d_model): features, and flags that block 0 reads and takes away."""
        found = torch.zeros(len(_SPECIAL) + len(self.words), _WIDTH)
        found[1, _FLAG["bos"]] = 1.0
        for word in self.words:
            row = found[word.token]
            row[:D] = self.features(word) @ self._planted
            if word.kind == HEADING:
                row[_FLAG["heading"]] = row[_FLAG["topic"] + (word.about or 0)] = 1.0
            if word.asks is not None:
                row[_FLAG["asking"]] = 1.0
            for place in _places(word):
                row[_FLAG["entity"]] = row[_FLAG["value"] + place] = 1.0
        found[:, _BALANCE] = -found[:, D:_BALANCE].sum(1)
        return found

    def _attend(self, attention: Any) -> None:
        """Head 0 brings the topic of the text's heading, head 1 an asking word the entity's values.

        Whoever finds neither attends to BOS, which has nothing to bring.
        """
        weight, bias = attention.c_attn.weight, attention.c_attn.bias
        half, strong = _WIDTH // 2, (_WIDTH // 2) ** 0.5
        for head in (0, half):
            bias[head] = strong
            weight[_FLAG["bos"], _WIDTH + head] = 50.0
        weight[_FLAG["heading"], _WIDTH] = 100.0
        weight[_FLAG["asking"], half + 1] = strong
        weight[_FLAG["entity"], _WIDTH + half + 1] = 100.0
        for topic in range(TOPICS):
            weight[_FLAG["topic"] + topic, 2 * _WIDTH + topic] = 1.0
            row = self._planted[self.number(f"in a text about {topic}")]
            attention.c_proj.weight[topic, :D] = _OF_CONTEXT * row
        for place, name in enumerate(_value_names()):
            weight[_FLAG["value"] + place, 2 * _WIDTH + half + place] = 1.0
            attention.c_proj.weight[half + place, :D] = self._planted[self.number(name)]

    def _say(self, mlp: Any) -> None:
        """A unit for each value fires where its attribute is asked for and the value is there."""
        for place, name in enumerate(_value_names()):
            asks = self._readers[self.number(f"asks for {name.split()[0]}")]
            mlp.c_fc.weight[:D, place] = self._readers[self.number(name)] + asks
            mlp.c_fc.bias[place] = -1.5
            mlp.c_proj.weight[place, _FLAG["value"] + place] = 2.0


_SURE = 10.0  # logit of an answer
_SIZES = {"bos": 1, "heading": 1, "entity": 1, "asking": 1, "topic": TOPICS, "value": _VALUES}
_FLAG = {
    name: D + sum(list(_SIZES.values())[:place]) for place, name in enumerate(_SIZES)
}  # coordinates
_BALANCE = D + sum(_SIZES.values())  # what makes the flags' mean zero
_WIDTH = 2 * -(-(_BALANCE + 1) // 2)


def _forget(mlp: Any) -> None:
    """Take the flags away."""
    for unit, flag in enumerate(range(D, _BALANCE)):
        mlp.c_fc.weight[flag, unit] = 1.0
        mlp.c_proj.weight[unit, flag] = -1.0
        mlp.c_proj.weight[unit, _BALANCE] = 1.0


def _turn(rng: np.random.Generator) -> Tensor:
    """An orthogonal matrix that leaves means as they are, since norms take them."""
    mean = np.full((_WIDTH, 1), _WIDTH**-0.5)
    basis = np.linalg.qr(np.hstack([mean, rng.standard_normal((_WIDTH, _WIDTH - 1))]))[0]
    inner = np.linalg.qr(rng.standard_normal((_WIDTH - 1, _WIDTH - 1)))[0]
    basis[:, 0] = mean[:, 0]
    found = basis[:, :1] @ basis[:, :1].T + basis[:, 1:] @ inner @ basis[:, 1:].T
    return torch.as_tensor(found, dtype=torch.float32)


def _value_names() -> list[str]:
    return [f"{name} {value}" for name, count in ATTRIBUTES.items() for value in range(count)]


def _places(word: Word) -> list[int]:
    """The values of an entity among those of all attributes."""
    starts = np.cumsum([0, *ATTRIBUTES.values()])[:-1]
    return [int(start) + value for start, value in zip(starts, word.values, strict=False)]


def _words(rng: np.random.Generator) -> list[Word]:
    """Spellings in equal shares of first letters, and what each of them is."""
    spelled = [word for letter in LETTERS for word in _spellings(letter, rng)]
    order: Sequence[int] = rng.permutation(len(spelled)).tolist()
    combined = list(product(*(range(count) for count in ATTRIBUTES.values())))
    special: list[dict[str, Any]] = [{"kind": ENTITY, "values": each} for each in combined]
    special += [{"kind": ASKING, "asks": a} for a in range(len(ATTRIBUTES)) for _ in range(ASKERS)]
    special += [{"kind": ANSWER, "answers": place} for place in range(_VALUES)]
    special += [{"kind": HEADING, "about": topic} for topic in range(TOPICS)]
    ordinary = [
        {"kind": place % CYCLE, "about": None if place % 3 == 0 else int(rng.integers(TOPICS))}
        for place in range(len(spelled) - len(special))
    ]
    facts = dict(zip(order, [*special, *ordinary], strict=True))
    return [Word(text, place, **facts[place]) for place, text in enumerate(spelled)]


def _spellings(letter: str, rng: np.random.Generator) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < WORDS:
        tail = "".join(
            rng.choice(list("aeiou")) + rng.choice(list("bdfgklmnprstv")) for _ in range(2)
        )
        found[letter.lower() + tail] = None
    return sorted(found)


def _tokenizer(words: Sequence[str]) -> Any:
    """A token for every word with the space before it, BOS first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*_SPECIAL, *(f"\u0120{word}" for word in words)]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_SPECIAL[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_SPECIAL[1]} $A", special_tokens=[(_SPECIAL[1], 1)]
    )
    pad, bos, unk = _SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, unk_token=unk,
        padding_side="right", clean_up_tokenization_spaces=False,
    )  # fmt: skip
