"""Version 1 with an unknown field at every level: kept, and passed on by each stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.filter.policy import Policy
from promptmill.filter.work import Filter
from promptmill.inference.scripted import Script, ScriptedGenerator, ScriptedGrader
from promptmill.instruct.work import Instruct
from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.work import Reward
from promptmill.store.index import SettledIndex
from promptmill.store.plan import draw_up
from promptmill.stream.outcome import Emit, Outcome
from promptmill.stream.ports import Delivery, Partition
from promptmill.testing.dedup import MemoryClaims, MemoryDedupStore
from promptmill_schemas import (
    Completion,
    Contract,
    ContractError,
    Prompt,
    Record,
    Reject,
    Scored,
    decode,
    encode,
)
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from promptmill_schemas.limits import MAX_UNKNOWN_FIELDS
from promptmill_schemas.topics import RECORDS, REJECTS
from schemas.golden.test_version_1 import FILES, contract_of, golden_bytes

NEWS = {"levels": [1, {"deep": "x"}], "flag": True, "number": 0.5}
FREE = {
    "tags",
    "json_schema",
    "calibration",
    "future",
    "tools",
    "chat_template_kwargs",
    "extra_body",
    "headers",
}
"""Objects whose names are data."""

each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def with_news(value: Any) -> Any:
    """The message with one more field in every object of a contract."""
    if isinstance(value, list):
        return [with_news(item) for item in value]
    if not isinstance(value, dict):
        return value
    known = {name: v if name in FREE else with_news(v) for name, v in value.items()}
    return {**known, "future": NEWS}


def objects_without_news(value: Any, path: str = "") -> Iterator[str]:
    """Where the unknown field is missing."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from objects_without_news(item, f"{path}.{i}")
    elif isinstance(value, dict):
        if value.get("future") != NEWS:
            yield path
        for name, item in value.items():
            if name not in FREE:
                yield from objects_without_news(item, f"{path}.{name}")


@each_file
def test_an_unknown_field_at_every_level_is_kept(path: Path) -> None:
    newer = with_news(orjson.loads(golden_bytes(path)))
    message = decode(contract_of(path), orjson.dumps(newer))
    assert orjson.loads(encode(message)) == newer
    assert decode(contract_of(path), encode(message)) == message


@each_file
def test_a_message_of_a_later_version_is_refused_by_its_version(path: Path) -> None:
    newer = {**orjson.loads(golden_bytes(path)), "schema_version": 2, "created_at": "when"}
    with pytest.raises(ContractError, match="schema_version is 2: this program reads version 1"):
        decode(contract_of(path), orjson.dumps(newer))


@pytest.mark.parametrize(
    ("unknown", "limit"),
    [
        ({f"f{i}": i for i in range(MAX_UNKNOWN_FIELDS + 1)}, "at most 64 unknown fields"),
        ({"f": float("inf")}, "finite"),
    ],
)
def test_unknown_fields_are_bounded(unknown: dict[str, Any], limit: str) -> None:
    prompt = orjson.loads(golden_bytes(FILES[0].with_name("prompt-minimal.json")))
    text = orjson.dumps({**prompt, **unknown}).replace(b'"f":null', b'"f":Infinity')
    with pytest.raises(ContractError, match=limit):
        decode(Prompt, text)


class NoCount:
    """Counts nothing."""

    def tokens(self, *, prompt: int, completion: int) -> None: ...


def only(outcome: Outcome) -> Contract:
    """The first message that is emitted."""
    assert isinstance(outcome, Emit)
    return outcome.messages[0].contract


async def through_all_stages(prompt: Prompt) -> list[Contract]:
    """What each stage publishes, every message written and read in between."""
    completion = only(await Instruct(ScriptedGenerator(Script()), NoCount())(prompt))
    scored = only(
        await Reward(Pointwise([ScriptedGrader(Script())]), NEMOTRON_WEIGHTS)(
            decode(Completion, encode(completion))
        )
    )
    policy, gate = Policy(), MemoryDedupStore(MemoryClaims(epoch=1, sketched=0), sketches=False)
    decision = only(await Filter(policy, gate)(decode(Scored, encode(scored))))
    return [completion, scored, decision]


async def test_every_stage_passes_on_what_it_does_not_know() -> None:
    raw = golden_bytes(FILES[0].with_name("prompt-minimal.json"))
    newer = with_news(orjson.loads(raw))
    completion, scored, decision = await through_all_stages(decode(Prompt, orjson.dumps(newer)))
    inside = [orjson.loads(encode(completion))["prompt"]]
    inside.append(orjson.loads(encode(scored))["completion"]["prompt"])
    assert [list(objects_without_news(prompt)) for prompt in inside] == [[], []]
    assert isinstance(decision, Record | Reject)
    assert decision.messages[0].unknown_fields == {"future"}
    assert decision.sampling.unknown_fields == {"future"}
    topic = RECORDS if isinstance(decision, Record) else REJECTS
    partition = Partition(topic.name, 0)
    plan = draw_up(
        [Delivery(partition, 0, None, encode(decision))],
        {spec.topic.name: name for name, spec in TABLES.items()},
        {0: SettledIndex()},
        {partition: None, Partition("dead-letters", 0): None},
    )
    (row,) = plan.batches[TableName(topic.name)].rows.to_pylist()
    assert orjson.loads(row["sampling"])["future"] == NEWS


def test_the_id_of_a_prompt_does_not_depend_on_what_is_unknown() -> None:
    raw = golden_bytes(FILES[0].with_name("prompt-full.json"))
    older, newer = decode(Prompt, raw), decode(Prompt, orjson.dumps(with_news(orjson.loads(raw))))
    assert newer.prompt_id == older.prompt_id
    assert newer != older
