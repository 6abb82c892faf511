"""The contracts of promptmill: the versioned schemas of the messages on its topics.

:func:`decode` validates messages when they are read; decoded contracts are not checked again.
"""

from promptmill_schemas.base import SCHEMA_VERSION, Contract, decode, encode
from promptmill_schemas.completion import Candidate, Completion, Generator, Timings
from promptmill_schemas.dead_letter import DeadLetter
from promptmill_schemas.errors import ContractError
from promptmill_schemas.grading import ATTRIBUTES, AttributeScores, GradedCandidate, Scorer
from promptmill_schemas.prompt import Message, Prompt, Sampling, StructuredOutput
from promptmill_schemas.record import Record
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
    "Generator",
    "Grade",
    "GradedCandidate",
    "Message",
    "Prompt",
    "Record",
    "Reject",
    "Sampling",
    "Scored",
    "Scorer",
    "StructuredOutput",
    "Timings",
    "Topic",
    "decode",
    "encode",
]
