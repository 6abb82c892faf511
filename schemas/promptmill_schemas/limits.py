"""The limits that all parts of the pipeline share, each with its reason."""

from __future__ import annotations

MIB = 1024 * 1024

MAX_PROMPT_BYTES = MIB
"""One published line: more than any model's context, small enough to keep thousands in memory."""

MAX_MESSAGE_BYTES = 8 * MIB
"""A message on a topic: a prompt with all of its candidates and grades."""

MAX_DEAD_LETTER_BYTES = 12 * MIB
"""A dead letter carries the original in base64, which is a third larger."""

MAX_ORIGINAL_BYTES = MAX_DEAD_LETTER_BYTES * 3 // 4 - 256 * 1024
"""The largest original (key and value) that a dead letter carries whole."""

HEAD_BYTES = 64 * 1024
"""The bytes that a dead letter keeps of the key and of the value of a larger original."""

MAX_CANDIDATES = 128
"""Answers to one prompt; all of them are in one message."""

MAX_MESSAGES = 512
"""Turns of one conversation."""

MAX_TOOLS = 128
"""Tools that a prompt defines, and calls of tools in one turn."""

MAX_REFERENCE_ITEMS = 1024
"""Choices, tests, cases or constraints of one reference."""

MAX_TOKENS = 131_072
"""Tokens of one answer; the context length of the model limits it further."""

MAX_TAGS = 64
MAX_TAG_CHARACTERS = 4096
MAX_RUN_CHARACTERS = 128

MAX_VALUES = 131_072
"""JSON values in a message; the largest regular one (128 graded answers) has 3,000."""

MAX_MESSAGE_DEPTH = 96
"""Nesting of a message: free-form JSON with the objects around it."""

MAX_UNKNOWN_FIELDS = 64
"""Fields of a newer version in one object; they are kept and passed on."""

MAX_JSON_DEPTH = 64
"""Nesting of free-form JSON in a contract; serialisers fail at a little over 200 levels."""
