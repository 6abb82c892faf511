"""The architecture of the demo's generator: a small ``NemotronForCausalLM``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill_demo.models.templates import BOS, EOS, PAD, TURN

if TYPE_CHECKING:
    from transformers import GenerationConfig, NemotronConfig, PreTrainedTokenizerFast

CONTEXT = 2048
HIDDEN = 192


def instruct_config(tokenizer: PreTrainedTokenizerFast) -> NemotronConfig:
    """Return a config of two million parameters that two tensor-parallel ranks can share."""
    from transformers import NemotronConfig

    ids = tokenizer.convert_tokens_to_ids
    return NemotronConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        initializer_range=HIDDEN**-0.5,
        tie_word_embeddings=False,
        pad_token_id=ids(PAD),
        bos_token_id=ids(BOS),
        eos_token_id=[ids(EOS), ids(TURN)],
        dtype="bfloat16",
    )


def generation_config(config: NemotronConfig) -> GenerationConfig:
    """Sample from the full distribution; stop at the end of the answer or before a new turn."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    )
