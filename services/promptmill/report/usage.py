"""Numbers and cost of tokens, and the lengths of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from promptmill.report.scores import RECORDS, REJECTS, Distribution, distribution
from promptmill.report.scratch import Scratch
from promptmill.runtime.errors import Misconfigured

CHARS_PER_TOKEN: Final = 4
"""The ratio by which tokens of prompts are estimated, because records do not count them."""

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """The price per million tokens, in any currency."""

    prompt: float
    completion: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one model.

    Attributes:
        answers: number of all answers, accepted or not; each was a separate request.
        prompt_tokens: an estimate from the characters of the prompts.
        completion_tokens: the tokens that the model counted.
        cost: the cost at the given price; ``None`` without a price.
    """

    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None = None


def parse_prices(texts: list[str]) -> dict[str, Price]:
    """Parse prices by model from texts such as ``MODEL=0.15,0.6``.

    Raises:
        Misconfigured: a text does not have this form.
    """
    found = {}
    for text in texts:
        model, equals, numbers = text.rpartition("=")
        parts = numbers.split(",")
        try:
            prices = [float(part) for part in parts]
        except ValueError:
            prices = []
        if not (model and equals and len(prices) == 2 and all(0 <= p < MILLION for p in prices)):
            raise Misconfigured(
                f"--price {text!r}: this is not MODEL=PROMPT,COMPLETION with two prices of a "
                "million tokens; write for example my-model=0.15,0.6"
            )
        found[model] = Price(*prices)
    return found


def usage(scratch: Scratch, prices: Mapping[str, Price]) -> tuple[Usage, ...]:
    """Return the tokens of each generator and their cost.

    Raises:
        Misconfigured: there is a price for a model that has generated nothing.
    """
    rows = scratch.rows(_TOKENS)
    known = {row[0] for row in rows}
    if unknown := [model for model in prices if model not in known]:
        raise Misconfigured(
            f"--price names the model {unknown[0]!r}, which has generated nothing here; the models "
            f"are {', '.join(sorted(known)) or 'none'}"
        )
    return tuple(
        Usage(model, answers, prompt, completion, _cost(prices.get(model), prompt, completion))
        for model, answers, prompt, completion in rows
    )


_TOKENS: Final = f"""
    WITH decisions AS (
        SELECT priced, tokens, prompt_chars FROM records WHERE ordinal = 0
        UNION ALL SELECT priced, tokens, prompt_chars FROM rejects
    )
    SELECT priced, sum(len(tokens))::BIGINT AS answers,
        (sum(prompt_chars * len(tokens)) / {CHARS_PER_TOKEN})::BIGINT,
        sum(coalesce(list_sum(tokens), 0))::BIGINT
    FROM decisions GROUP BY priced ORDER BY answers DESC, priced
"""


def _cost(price: Price | None, prompt: int, completion: int) -> float | None:
    if price is None:
        return None
    return round((prompt * price.prompt + completion * price.completion) / MILLION, 6)


def lengths(scratch: Scratch) -> tuple[Distribution, ...]:
    """Return the distributions of the characters of prompts and answers and of answers' tokens."""
    return (
        *distribution(
            scratch,
            "prompt characters",
            {
                RECORDS: "SELECT prompt_chars AS value FROM records",
                REJECTS: "SELECT prompt_chars AS value FROM rejects",
            },
        ),
        *distribution(
            scratch,
            "answer characters",
            {
                RECORDS: "SELECT answer_chars AS value FROM records",
                "rejected in pairs": "SELECT rejected_chars AS value FROM records",
            },
        ),
        *distribution(
            scratch,
            "answer tokens",
            {
                RECORDS: "SELECT unnest(tokens) AS value FROM records WHERE ordinal = 0",
                REJECTS: "SELECT unnest(tokens) AS value FROM rejects",
            },
        ),
    )
