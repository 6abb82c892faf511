"""The sizes that every part agrees on, each with its reason."""

from __future__ import annotations

MIB = 1024 * 1024

MAX_PROMPT_BYTES = MIB
"""One published line: far beyond any model's context, small enough to hold thousands."""

MAX_MESSAGE_BYTES = 8 * MIB
"""A message on a topic: a prompt with all of its candidates and grades."""

MAX_DEAD_LETTER_BYTES = 12 * MIB
"""A dead letter carries the original bytes in base64, which grow by a third."""

MAX_ORIGINAL_BYTES = MAX_DEAD_LETTER_BYTES * 3 // 4 - 256 * 1024
"""The largest original (key and value) that a dead letter carries whole."""

HEAD_BYTES = 64 * 1024
"""What a dead letter keeps of a larger original."""

MAX_CANDIDATES = 128
"""Answers to one prompt; they travel together in one message."""

MAX_MESSAGES = 512
"""Turns of one conversation."""

MAX_TOKENS = 131_072
"""Tokens of one answer; the model's own context limits it further."""

MAX_TAGS = 64
MAX_TAG_CHARACTERS = 4096
MAX_RUN_CHARACTERS = 128

MAX_VALUES = 131_072
"""Values in a message, at any depth: the largest honest one (128 graded answers) has 3,000."""

MAX_MESSAGE_DEPTH = 96
"""Nesting of a message: free-form JSON, and what it stands in."""

MAX_UNKNOWN_FIELDS = 64
"""Fields of a newer version that one object may carry; they are kept and passed on."""

MAX_JSON_DEPTH = 64
"""Nesting of free-form JSON inside a contract; serialisers stop somewhere above 200."""
