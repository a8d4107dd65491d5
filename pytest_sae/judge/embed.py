"""Texts as vectors of an embedding model, with the judge's patience, purse and recordings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from pytest_sae.errors import JudgeError
from pytest_sae.judge.budget import most_tokens
from pytest_sae.judge.exchange import Exchange
from pytest_sae.judge.provider import Vectors, embed
from pytest_sae.judge.recorded_answer import EMBED, EmbeddingRecord, Usage, embedding_key

BATCH = 64


def embeddings(
    model: str, texts: Sequence[str], exchange: Exchange, api_base: str | None = None
) -> list[list[float]]:
    """Return one vector for each text, in their order; equal texts are asked once.

    Args:
        model: as litellm spells it, such as `openai/text-embedding-3-small`.
        texts: none of them empty.
        exchange: of the judge, `ModelJudge.exchange`.
        api_base: URL of a server of one's own, None for the judge's.

    Raises:
        JudgeError: refused, unreachable, out of budget, or not recorded.
    """
    recordings, settings = exchange.recordings, exchange.settings
    known = {text: recordings.get(embedding_key(model, text), EmbeddingRecord) for text in texts}
    missing = [text for text, record in known.items() if record is None]
    if missing and settings.mode == "replay":
        raise JudgeError(
            f"{settings.recordings} has no embedding by {model} of {len(missing)} texts: "
            "run once with --sae-judge-mode=record"
        )
    exchange.resume()
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        for fresh in _asked(model, batch, exchange, api_base or settings.api_base):
            known[fresh.text] = recordings.add(fresh)
    return [record.vector for text in texts if (record := known[text]) is not None]


def _asked(
    model: str, batch: Sequence[str], exchange: Exchange, api_base: str | None
) -> list[EmbeddingRecord]:
    most = Usage(input_tokens=most_tokens(batch), output_tokens=0)
    result, retries = exchange.perform(
        model, most, lambda: embed(model, api_base, exchange.settings.timeout, batch)
    )
    shares = _shares(result, [len(text.encode(errors="replace")) for text in batch])
    return [
        EmbeddingRecord(
            key=embedding_key(model, text),
            model=model,
            prompt=EMBED,
            text=text,
            vector=vector,
            usage=usage,
            cost=None if result.cost is None else result.cost / len(batch),
            retries=retries if text == batch[0] else 0,
        )
        for text, vector, usage in zip(batch, result.vectors, shares, strict=True)
    ]


def _shares(result: Vectors, sizes: Sequence[int]) -> list[Usage | None]:
    """The batch's tokens by the length of the texts: whole numbers that add up to it."""
    if result.usage is None:
        return [None] * len(sizes)
    tokens, total = result.usage.input_tokens, sum(sizes) or 1
    marks = [tokens * upto // total for upto in accumulate(sizes, initial=0)]
    return [Usage(input_tokens=high - low, output_tokens=0) for low, high in pairwise(marks)]
