"""A byte-level BPE tokenizer, trained on a text that is part of the package."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from promptmill_demo.models.templates import BOS, EOS, PAD, SPECIAL_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 2048


def shipped_text() -> list[str]:
    """Return the lines of the shipped training text."""
    text = resources.files("promptmill_demo.models").joinpath("corpus.txt").read_text("utf-8")
    return text.splitlines()


def train_tokenizer(lines: list[str], *, template: str, context: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer that can encode any text, with unknown words as bytes.

    Args:
        lines: the text from which the merges are learned.
        template: the Jinja chat template.
        context: the model's maximum number of tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in {PAD, BOS, EOS}],
        chat_template=template,
        model_max_length=context,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
