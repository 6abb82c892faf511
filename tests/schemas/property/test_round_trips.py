"""What is encoded comes back the same, for every contract and any content."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.stream.dead_letters import prompt_of
from promptmill_schemas import TOPICS, Contract, ContractError, Prompt, Topic, decode, encode
from support.contracts import CONTRACTS, prompts

EACH = pytest.mark.parametrize(
    "contract", CONTRACTS, ids=[contract.__name__ for contract in CONTRACTS]
)
relaxed = settings(
    max_examples=min(40, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_every_topic_has_a_strategy_for_its_contract() -> None:
    assert {topic.contract for topic in TOPICS} == set(CONTRACTS)


@EACH
@relaxed
@given(data=st.data())
def test_a_contract_survives_its_encoding(contract: type[Contract], data: Any) -> None:
    original = data.draw(CONTRACTS[contract])
    again = decode(contract, encode(original))
    assert again == original
    assert encode(again) == encode(original)


@EACH
@relaxed
@given(data=st.data())
def test_a_damaged_message_is_a_contract_or_refused_as_none(
    contract: type[Contract], data: Any
) -> None:
    raw = bytearray(encode(data.draw(CONTRACTS[contract])))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ContractError):
        assert isinstance(decode(contract, bytes(raw)), contract)


@relaxed
@given(prompt=prompts(), raw=st.binary(max_size=64))
def test_any_bytes_are_a_prompt_or_a_contract_error(prompt: Prompt, raw: bytes) -> None:
    with pytest.raises(ContractError):
        decode(Prompt, raw)
    with pytest.raises(ContractError):
        decode(Prompt, encode(prompt) + raw.strip() + b"}")


@pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])
@relaxed
@given(data=st.data())
def test_a_message_is_keyed_by_the_prompt_that_it_belongs_to(topic: Topic, data: Any) -> None:
    message = data.draw(CONTRACTS[topic.contract])
    prompt = prompt_of(encode(message))
    expected = prompt.prompt_id if prompt else message.prompt_id or message.letter_id
    assert topic.key(message) == expected
