"""Ids of version 1, written down: a change here orphans every table and topic there is."""

from __future__ import annotations

from promptmill_schemas import Message, Prompt, Sampling, StructuredOutput
from promptmill_schemas.ids import candidate_seed, digest, letter_id, record_id, text_digest

QUESTION = (Message(role="system", content="Be brief."), Message(role="user", content="Größe? 🎈"))


def test_the_ids_of_version_1_stay_as_they_are() -> None:
    plain = Prompt.create("run-1", QUESTION)
    assert plain.prompt_id == "c455dcfa5ced5505d65180d3acbaa427"
    sampled = Prompt.create("run-1", QUESTION, n=4, sampling=Sampling(temperature=0.7, stop=("a",)))
    assert sampled.prompt_id == "d82a8569997f0998e9def997b049bf47"
    structured = Sampling(structured=StructuredOutput(json_schema={"b": [1, None], "a": 0.5}))
    shaped = Prompt.create("run-1", QUESTION, sampling=structured)
    assert shaped.prompt_id == "b94d24030b46b448c489323c2b5b6f85"
    adapted = Prompt.create("run-1", QUESTION, adapter="lora")
    assert adapted.prompt_id == "b9bd4de5f93d5466f2cd3bead473a489"


def test_the_derived_ids_of_version_1_stay_as_they_are() -> None:
    assert digest("kind", 1, "two", [3.5, None]) == "65180278aacfa90f0e1e7c2da715e087"
    assert candidate_seed("0" * 32, 0) == 1634697653943510926
    assert candidate_seed("0" * 32, 1) == 100044153101304309
    assert text_digest("Größe") == "ba94ef9b04a20d4d71328310afe38a62"
    assert record_id("0" * 32, "sft", "1" * 32) == "5fbae1bd3f7e4bd1ad5bd0dcafe55a47"
    pair = record_id("0" * 32, "preference", "1" * 32, "2" * 32)
    assert pair == "3d1c457bf8c50a43fc8d35c4172806f5"
    assert letter_id("prompts", 3, 41, 0) == "c3b24710a0a74f41d0e67c0abe693502"


def test_settings_at_their_defaults_leave_the_id_as_it_is() -> None:
    given = Sampling(temperature=1.0, top_p=1.0, max_tokens=512, stop=(), seed=None)
    assert (
        Prompt.create("r", QUESTION, n=1, sampling=given).prompt_id
        == Prompt.create("r", QUESTION).prompt_id
    )


def test_the_order_of_keys_in_a_json_schema_does_not_matter() -> None:
    one = StructuredOutput(json_schema={"a": 1, "b": {"c": 2, "d": 3}})
    other = StructuredOutput(json_schema={"b": {"d": 3, "c": 2}, "a": 1})
    ids = {
        Prompt.create("r", QUESTION, sampling=Sampling(structured=s)).prompt_id
        for s in (one, other)
    }
    assert len(ids) == 1


def test_tags_time_and_replays_are_not_part_of_the_id() -> None:
    plain = Prompt.create("r", QUESTION)
    tagged = Prompt.create("r", QUESTION, tags={"family": "code"})
    assert plain.prompt_id == tagged.prompt_id
