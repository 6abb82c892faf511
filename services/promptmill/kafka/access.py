"""The rights that each part of promptmill needs on a cluster with ACLs, and how they are granted.

The parts are the stages and the ``operator``, who runs the commands. Whoever creates the topics
needs further rights (:data:`CREATOR`), which no running part has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1
from aiokafka.protocol.api import Request

from promptmill.kafka.client import KafkaAdmin
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import TOPICS
from promptmill_schemas.documents import FLOW
from promptmill_schemas.topics import RECORDS, REJECTS

STAGES: Final = ("instruct", "reward", "filter", "store")
OPERATOR: Final = "operator"

CREATOR: Final = "Create and AlterConfigs on the topics, or Create on the cluster"

Operation: TypeAlias = Literal["Read", "Write", "Describe", "DescribeConfigs"]

_RESOURCES: Final = {"Topic": 2, "Group": 3}
_OPERATIONS: Final[Mapping[Operation, int]] = {
    "Read": 3,
    "Write": 4,
    "Describe": 8,
    "DescribeConfigs": 10,
}
"""The numbers of Kafka's protocol (https://kafka.apache.org/protocol)."""

_LITERAL, _ALLOW, _ANY_HOST = 3, 3, "*"


@dataclass(frozen=True, slots=True)
class Right:
    """The operations that a part may perform on one topic or group.

    Attributes:
        part: a stage or the operator.
        resource: ``Topic`` or ``Group``.
        name: full name on the broker.
        operations: the operations, by Kafka's names.
    """

    part: str
    resource: Literal["Topic", "Group"]
    name: str
    operations: tuple[Operation, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``topics --plan --json`` prints."""
        return {
            "part": self.part,
            "resource": self.resource,
            "name": self.name,
            "operations": list(self.operations),
        }


def rights(prefix: str) -> list[Right]:
    """Return the least rights of all parts.

    Every part may describe all topics and groups, because any worker can be elected to measure
    the lags. A stage also writes to its own inputs, because it moves messages that another producer
    has put into the wrong partition.

    Args:
        prefix: the prefix of the name of every topic and group.
    """
    return [right for part in (*STAGES, OPERATOR) for right in _rights_of(part, prefix)]


def _rights_of(part: str, prefix: str) -> Iterator[Right]:
    reads, writes = _topics_of(part)
    for topic in TOPICS:
        may: list[Operation] = ["Describe", "DescribeConfigs"]
        may += ["Read"] if topic.name in reads else []
        may += ["Write"] if topic.name in writes else []
        yield Right(part, "Topic", prefix + topic.name, tuple(may))
    for stage in STAGES:
        own: tuple[Operation, ...] = ("Describe", "Read") if stage == part else ("Describe",)
        yield Right(part, "Group", f"{prefix}promptmill.{stage}", own)


def _topics_of(part: str) -> tuple[set[str], set[str]]:
    """Return the topics that a part reads and writes."""
    if part == OPERATOR:  # it publishes, requeues, and replays dead letters of every topic
        everything = {topic.name for topic in TOPICS}
        return everything, everything
    receives, sends = ({topic.name for topic in topics} for topics in FLOW[part])
    decisions = {RECORDS.name, REJECTS.name} if part == "filter" else set()
    return receives | decisions, sends | receives  # the filter rebuilds its claims from decisions


async def grant(admin: KafkaAdmin, wanted: Iterable[Right], users: Mapping[str, str]) -> None:
    """Grant the rights; existing ones do not change.

    Args:
        admin: a started client whose user may alter ACLs.
        wanted: the rights.
        users: the principal by part, for example ``User:reward``.

    Raises:
        Misconfigured: the cluster refuses, for example because it has no authoriser.
        KafkaError: no broker answers.
    """
    creations = [
        (
            _RESOURCES[right.resource],
            right.name,
            _LITERAL,
            users[right.part],
            _ANY_HOST,
            _OPERATIONS[operation],
            _ALLOW,
        )
        for right in wanted
        for operation in right.operations
    ]
    answer = await admin._send_to_controller(_CreateAcls(creations))  # noqa: SLF001 - aiokafka has no public call for several ACLs
    refused = [(code, message) for code, message in answer.creation_responses if code]
    if refused:
        code, message = refused[0]
        error: type[KafkaError] = for_code(code)
        raise Misconfigured(f"the cluster refuses an ACL: {message or error.description}")


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """Creates several ACLs at once."""

    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, creations: Sequence[tuple[Any, ...]]) -> None:
        self._creations = creations

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        """Build the request."""
        return request_struct_class(list(self._creations))
