"""The limits that all parts of the pipeline share, with the reason for each of them."""

from __future__ import annotations

MIB = 1024 * 1024

MAX_PROMPT_BYTES = MIB
"""The size of a published line: above any model's context, yet thousands fit into memory."""

MAX_MESSAGE_BYTES = 8 * MIB
"""The size of a message on a topic: a prompt with all of its candidates and grades."""

MAX_DEAD_LETTER_BYTES = 12 * MIB
"""The size of a dead letter, which carries the original in base64, a third larger."""

MAX_ORIGINAL_BYTES = MAX_DEAD_LETTER_BYTES * 3 // 4 - 256 * 1024
"""The size of the largest original (key and value) that a dead letter carries completely."""

HEAD_BYTES = 64 * 1024
"""The number of bytes of the key and of the value that are kept of a larger original."""

MAX_CANDIDATES = 128
"""The number of answers to one prompt, which are all in one message."""

MAX_MESSAGES = 512
"""The number of turns in a conversation."""

MAX_TOOLS = 128
"""The number of tools that a prompt defines, and of tool calls in one turn."""

MAX_REFERENCE_ITEMS = 1024
"""The number of choices, tests, cases or constraints of one reference."""

MAX_TOKENS = 131_072
"""The number of tokens of one answer, which the model's context may limit further."""

MAX_TAGS = 64
MAX_TAG_CHARACTERS = 4096
MAX_RUN_CHARACTERS = 128

MAX_VALUES = 131_072
"""The number of JSON values in a message; 128 graded answers have 3,000."""

MAX_MESSAGE_DEPTH = 96
"""The levels of nesting of a message: free-form JSON and the objects around it."""

MAX_UNKNOWN_FIELDS = 64
"""The number of a newer version's fields in one object, which are kept and passed on."""

MAX_JSON_DEPTH = 64
"""The levels of free-form JSON in a contract; serialisers fail at just over 200 levels."""
