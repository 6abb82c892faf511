"""A model that thinks, made of an untrained one, for servers that part its answers.

It has the tokens ``<think>`` and ``</think>`` and a template that begins an answer with the first
of them, as Qwen 3 has. Its words are random: a budget of tokens ends its reasoning, and a regular
expression makes it call a tool.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson

_RENAMED = {"<extra_id_0>": "<think>", "<extra_id_2>": "</think>"}
"""Special tokens that the new template does not need."""

_TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}
{% endfor -%}
{%- for message in messages -%}<extra_id_1>{{ message['role'] }}
{{ message['content'] }}
{% endfor -%}
{%- if add_generation_prompt -%}<extra_id_1>assistant
{% if enable_thinking is not defined or enable_thinking -%}<think>
{% endif -%}{%- endif -%}
"""


def make_thinking_model(model: Path, folder: Path) -> Path:
    """Copy this untrained generator to ``folder``, with the tokens and the template."""
    shutil.copytree(model, folder)
    path = folder / "tokenizer.json"
    tokenizer = orjson.loads(path.read_bytes())
    for token in tokenizer["added_tokens"]:
        if token["content"] in _RENAMED:
            token |= {"content": _RENAMED[token["content"]], "special": False}
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {_RENAMED.get(text, text): n for text, n in vocabulary.items()}
    path.write_bytes(orjson.dumps(tokenizer))
    path = folder / "tokenizer_config.json"
    config = orjson.loads(path.read_bytes()) | {"extra_special_tokens": ["<extra_id_1>"]}
    path.write_bytes(orjson.dumps(config))
    (folder / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")
    return folder
