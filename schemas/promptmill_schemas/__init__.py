"""The contracts of promptmill: what its topics carry, versioned and checked at the border.

Inside, a decoded contract is trusted; bytes become contracts only in :func:`decode`.
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
