"""Every format has the exact fields that its trainer reads, for each shape of conversation."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pyarrow as pa
import pytest

from export.unit.schemas import ROWS
from promptmill.cli.grading.rows import Rated
from promptmill.export.formats import FORMATS, Context, TrainerFormat
from promptmill_schemas import Message, Record
from promptmill_schemas.reference import (
    AnswerReference,
    ChoiceReference,
    Constraint,
    ConstraintsReference,
    ProgramCase,
    UnitTestsReference,
)
from support.exports import BAD, CONVERSATIONS, GOOD, MULTI_TURN, SINGLE, WITH_SYSTEM, pair, sft

EACH_FORMAT = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
EACH_CONVERSATION = pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)


def rows(name: str, *records: Record, context: Context | None = None) -> list[dict[str, Any]]:
    """The rows of these records in a format."""
    return [row for each in records for row in FORMATS[name].rows(each, context or Context())]


def suiting(form: TrainerFormat, messages: Any) -> list[Record]:
    """A record of each kind that has rows in the format."""
    truth = AnswerReference(kind="answer", answer="4")
    made = (sft(messages, reference=truth), pair(messages, reference=truth))
    return [record for record in made if record.kind in form.kinds]


def test_each_format_has_a_schema_written_from_its_trainers_documentation() -> None:
    assert set(ROWS) == set(FORMATS)


@EACH_FORMAT
@EACH_CONVERSATION
def test_rows_have_the_fields_that_the_trainer_reads(form: TrainerFormat, messages: Any) -> None:
    found = rows(form.name, *suiting(form, messages))
    assert found
    for row in found:
        jsonschema.validate(row, ROWS[form.name])


@EACH_FORMAT
@EACH_CONVERSATION
def test_rows_have_every_column_and_survive_parquet(form: TrainerFormat, messages: Any) -> None:
    found = rows(form.name, *suiting(form, messages))
    assert all(list(row) == form.schema.names for row in found)
    assert pa.Table.from_pylist(found, schema=form.schema).to_pylist() == found


@EACH_FORMAT
def test_records_of_another_kind_have_no_rows_or_valid_ones(form: TrainerFormat) -> None:
    for record in (sft(), pair()):
        if record.kind not in form.kinds:
            for row in rows(form.name, record):
                jsonschema.validate(row, ROWS[form.name])


@EACH_FORMAT
def test_formats_say_what_they_are_for(form: TrainerFormat) -> None:
    assert form.trainer
    assert form.purpose
    assert form.usage
    assert set(form.kinds) <= {"sft", "preference"}


def test_a_conversation_keeps_its_turns_and_ends_with_the_answer() -> None:
    (row,) = rows("trl-sft", sft(MULTI_TURN))
    assert [m["role"] for m in row["messages"]] == [
        *("system", "user", "assistant", "user", "assistant")
    ]
    assert row["messages"][-1]["content"] == GOOD
    (row,) = rows("trl-prompt-completion", sft(MULTI_TURN))
    assert len(row["prompt"]) == 4
    assert row["completion"] == [{"role": "assistant", "content": GOOD}]


def test_the_better_answer_of_a_pair_is_the_chosen_one_everywhere() -> None:
    record = pair(MULTI_TURN)
    (dpo,) = rows("trl-dpo", record)
    assert (dpo["chosen"][0]["content"], dpo["rejected"][0]["content"]) == (GOOD, BAD)
    (reward,) = rows("trl-reward", record)
    assert len(reward["chosen"]) == len(reward["rejected"]) == 5
    assert reward["margin"] == 3.7
    (ranked,) = rows("nemo-rl-preference", record)
    assert [c["completion"][0]["content"] for c in ranked["completions"]] == [GOOD, BAD]
    assert [row["label"] for row in rows("trl-kto", record, sft())] == [True, False, True]
    better, worse = rows("aligner-pairwise", record)
    assert GOOD in better["text"]
    assert BAD in worse["text"]


def test_the_strength_of_a_preference_names_the_better_side() -> None:
    sides = set()
    for number in range(40):
        record = pair(record_id=f"{number:032x}")
        (row,) = rows("helpsteer3-preference", record)
        better = "response1" if row["overall_preference"] < 0 else "response2"
        assert row[better] == GOOD
        sides.add(better)
        (older,) = rows("helpsteer2-preference", record, context=Context(split="validation"))
        assert older["preference_strength"] == row["overall_preference"]
        assert older["split"] == "val"
    assert sides == {"response1", "response2"}
    (weak,) = rows("helpsteer3-preference", pair(margin=0.1))
    assert abs(weak["overall_preference"]) == 1


def test_every_graded_candidate_teaches_a_reward_model_once() -> None:
    first, other = sft(), sft(ordinal=1, candidates=())
    assert [row["response"] for row in rows("helpsteer2", first, other)] == [GOOD, BAD]
    assert [row["response"] for row in rows("helpsteer2", pair(candidates=()))] == [GOOD, BAD]
    best = rows("helpsteer2", first)[0]
    assert best["helpfulness"] == 4
    assert best["correctness"] == 4
    assert best["verbosity"] == 0
    regression = rows("aligner-regression", first, other)
    assert regression[0]["label"] == [*[-100.0] * 4, 3.6, 4.4, 3.5, 1.2, -0.3]


@EACH_CONVERSATION
def test_a_prompt_of_helpsteer_is_read_back_by_our_own_reader(messages: Any) -> None:
    row = rows("helpsteer2", sft(messages))[0]
    assert Rated.model_validate(row).prompt == messages


def test_templated_texts_have_one_system_turn_and_end_where_the_answer_begins() -> None:
    (row,) = rows("aligner-sft", sft(WITH_SYSTEM))
    assert row["input"] == (
        "<extra_id_0>System\nBe brief.\n<extra_id_1>User\nWhat is 2 + 2?\n<extra_id_1>Assistant\n"
    )
    (row,) = rows("aligner-sft", sft(SINGLE))
    assert row["input"].startswith("<extra_id_0>System\n\n<extra_id_1>User\n")
    (row,) = rows("aligner-steerlm", sft(MULTI_TURN))
    assert row["system"] == "Be brief."
    assert [turn["from"] for turn in row["conversations"]] == ["User", "Assistant"] * 2
    assert [turn["label"] is None for turn in row["conversations"]] == [True, True, True, False]


def test_llama_factory_gets_an_entry_for_each_file() -> None:
    companions = FORMATS["llama-factory-preference"].companions
    assert companions is not None
    info = companions({"train": ["data/a.jsonl", "data/b.jsonl"], "validation": ["data/c.jsonl"]})
    entries = info["dataset_info.json"]
    assert list(entries) == ["promptmill_train", "promptmill_train_1", "promptmill_validation"]
    assert entries["promptmill_train"]["file_name"] == "data/a.jsonl"
    assert entries["promptmill_train"]["ranking"] is True
    assert orjson.dumps(info)


def test_reinforcement_learning_gets_one_row_for_each_prompt_with_its_ground_truth() -> None:
    truth = AnswerReference(kind="answer", answer="4")
    first = sft(reference=truth, category="math", tags={"verifier": "gsm8k"})
    for name in ("verl-rl", "skyrl", "open-instruct-rlvr", "nemo-gym"):
        assert len(rows(name, first)) == 1
        assert rows(name, sft(reference=truth, ordinal=1), sft()) == []
    (row,) = rows("verl-rl", first, context=Context("validation", 7))
    assert row["data_source"] == "gsm8k"
    assert row["ability"] == "math"
    assert row["reward_model"]["ground_truth"] == "4"
    assert row["extra_info"] == {"split": "validation", "index": 7}
    (other,) = rows("skyrl", sft(reference=truth), context=Context(verifier="aime"))
    assert other["env_class"] == "aime"
    assert [row["solution"] for row in rows("trl-grpo", first, sft())] == ["4", None]
    (row,) = rows("open-instruct-rlvr", first)
    assert row["messages"][-1]["content"] == GOOD


def test_gym_gets_the_fields_of_each_verifier() -> None:
    choice = ChoiceReference(kind="choice", choice="B", choices=("no", "yes"))
    cases = (ProgramCase(stdin="1", stdout="2"),)
    constraint = Constraint(name="length_constraints:number_words", arguments={"num_words": 3})
    references: list[tuple[Any, dict[str, Any]]] = [
        (choice, {"expected_answer": "B", "options": [{"A": "no"}, {"B": "yes"}]}),
        (
            UnitTestsReference(kind="unit_tests", cases=cases),
            {"unit_tests": {"inputs": ["1"], "outputs": ["2"]}},
        ),
        (
            ConstraintsReference(kind="constraints", constraints=(constraint,)),
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 3}],
                "prompt": "What is 2 + 2?",
            },
        ),
    ]
    for reference, fields in references:
        (row,) = rows("nemo-gym", sft(reference=reference))
        jsonschema.validate(row, ROWS["nemo-gym"])
        assert {name: row[name] for name in fields} == fields
        assert "agent_ref" not in row


def test_turns_of_the_developer_are_those_of_the_system() -> None:
    record = sft((Message(role="developer", content="Be brief."), *SINGLE))
    assert rows("trl-sft", record)[0]["messages"][0]["role"] == "system"
    assert rows("aligner-steerlm", record)[0]["system"] == "Be brief."
    assert rows("llama-factory-preference", pair(record.messages[:-1]))


def test_batch_results_keep_the_id_of_their_request() -> None:
    (row,) = rows("openai-batch", sft(tags={"custom_id": "request-1"}))
    assert row["custom_id"] == "request-1"
    assert row["response"]["body"]["choices"][0]["message"]["content"] == GOOD
