"""The architecture of the demo's grader: a small ``LlamaForSequenceClassification``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill_demo.models.templates import BOS, EOS, PAD
from promptmill_schemas import ATTRIBUTES

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

CONTEXT = 4096
HIDDEN = 192


def reward_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Return a config of two million parameters that two tensor-parallel ranks can share."""
    from transformers import LlamaConfig

    ids = tokenizer.convert_tokens_to_ids
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        initializer_range=HIDDEN**-0.5,
        pad_token_id=ids(PAD),
        bos_token_id=ids(BOS),
        eos_token_id=ids(EOS),
        id2label=dict(enumerate(ATTRIBUTES)),
        label2id={name: index for index, name in enumerate(ATTRIBUTES)},
        problem_type="regression",
        dtype="bfloat16",
    )
