"""Nemotron's chat format as Jinja templates, and the tokens it is made of.

A conversation always begins with a system turn, which is empty if none is given::

    <extra_id_0>System
    {system}
    <extra_id_1>User
    {text}
    <extra_id_1>Assistant
    {text}
"""

from __future__ import annotations

from typing import Final

PAD: Final = "<pad>"
BOS: Final = "<s>"
EOS: Final = "</s>"
SYSTEM: Final = "<extra_id_0>"
TURN: Final = "<extra_id_1>"
LABEL: Final = "<extra_id_2>"

SPECIAL_TOKENS: Final = (PAD, BOS, EOS, SYSTEM, TURN, LABEL)
"""The special tokens in the order of their ids, from 0."""

_TURNS: Final = (
    "{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' -%}"
    "{{- '<extra_id_0>System\n' + system + '\n' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- '<extra_id_1>User\n' + message['content'] + '\n' -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<extra_id_1>Assistant\n' + message['content'] + '\n' -}}"
    "{%- elif not loop.first -%}"
    "{{- raise_exception('a system message must be the first message') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
)

INSTRUCT_TEMPLATE: Final = (
    _TURNS + "{%- if add_generation_prompt -%}{{- '<extra_id_1>Assistant\n' -}}{%- endif -%}"
)
"""The template of a generator; the text ends where the assistant's turn begins."""

REWARD_TEMPLATE: Final = _TURNS + "{{- '<extra_id_2>' -}}"
"""The template of a grader; the text ends with the label token, at which scores are read."""
