"""The contracts of promptmill: the versioned schemas of the messages on its topics.

:func:`decode` validates messages when they are read; decoded contracts are not checked again.
"""

from promptmill_schemas.base import SCHEMA_VERSION, Contract, decode, encode
from promptmill_schemas.completion import Candidate, Completion, Generator, Timings
from promptmill_schemas.dead_letter import DeadLetter
from promptmill_schemas.errors import ContractError
from promptmill_schemas.grading import ATTRIBUTES, AttributeScores, GradedCandidate, Scorer
from promptmill_schemas.message import FunctionCall, Message, ToolCall
from promptmill_schemas.prompt import Prompt, PromptOptions, Sampling, StructuredOutput
from promptmill_schemas.record import Record
from promptmill_schemas.reference import Reference
from promptmill_schemas.reject import Check, Duplicate, FailedCandidate, Reject
from promptmill_schemas.scored import Grade, Scored
from promptmill_schemas.topics import TOPICS, Topic

__all__ = [
    "ATTRIBUTES",
    "SCHEMA_VERSION",
    "TOPICS",
    "AttributeScores",
    "Candidate",
    "Check",
    "Completion",
    "Contract",
    "ContractError",
    "DeadLetter",
    "Duplicate",
    "FailedCandidate",
    "FunctionCall",
    "Generator",
    "Grade",
    "GradedCandidate",
    "Message",
    "Prompt",
    "PromptOptions",
    "Record",
    "Reference",
    "Reject",
    "Sampling",
    "Scored",
    "Scorer",
    "StructuredOutput",
    "Timings",
    "ToolCall",
    "Topic",
    "decode",
    "encode",
]
