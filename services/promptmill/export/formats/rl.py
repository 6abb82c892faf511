"""Formats for reinforcement learning with verifiable rewards: prompts with a ground truth.

There is one row for each prompt: further records of a decision would repeat it. Formats whose
scoring functions need a ground truth have no row for a prompt without a reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from promptmill.export.formats.conversation import conversation, prompt
from promptmill.export.formats.format import (
    ANY_KIND,
    INT,
    JSON_LINES,
    MESSAGES,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import Record
from promptmill_schemas.reference import (
    AnswerReference,
    ChoiceReference,
    ConstraintsReference,
    UnitTestsReference,
)

EXTRA_INFO: Final = pa.struct([("split", TEXT), ("index", INT)])


def ground_truth(record: Record) -> str | None:
    """Return the reference as text: the answer, the choice, or JSON for other kinds."""
    match record.reference:
        case None:
            return None
        case AnswerReference(answer=answer):
            return answer
        case ChoiceReference(choice=choice):
            return choice
        case other:
            return other.model_dump_json(exclude_none=True, exclude={"kind"})


def verifier(record: Record, context: Context) -> str:
    """Return the name of a record's scoring function or environment."""
    return record.tags.get("verifier", context.verifier)


def grpo(record: Record, _context: Context) -> Iterator[Row]:
    """Yield TRL's row: the prompt, and the solution that reward functions receive."""
    if record.ordinal == 0:
        yield {"prompt": prompt(record), "solution": ground_truth(record)}


def verl(record: Record, context: Context) -> Iterator[Row]:
    """Yield verl's row, in which ``data_source`` selects the scoring function."""
    truth = ground_truth(record)
    if record.ordinal == 0 and truth is not None:
        yield {
            "data_source": verifier(record, context),
            "prompt": prompt(record),
            "ability": record.category or "general",
            "reward_model": {"style": "rule", "ground_truth": truth},
            "extra_info": {"split": context.split, "index": context.index},
        }


def skyrl(record: Record, context: Context) -> Iterator[Row]:
    """Yield SkyRL's row, in which ``env_class`` selects the environment."""
    truth = ground_truth(record)
    if record.ordinal == 0 and truth is not None:
        name = verifier(record, context)
        yield {
            "data_source": name,
            "prompt": prompt(record),
            "env_class": name,
            "reward_spec": {"method": "rule", "ground_truth": truth},
            "extra_info": {"split": context.split, "index": context.index},
        }


def rlvr(record: Record, context: Context) -> Iterator[Row]:
    """Yield open-instruct's row: the whole conversation, because its loader drops the last turn."""
    truth = ground_truth(record)
    if record.ordinal == 0 and truth is not None:
        yield {
            "messages": conversation(record),
            "ground_truth": truth,
            "dataset": verifier(record, context),
        }


def gym(record: Record, _context: Context) -> Iterator[Row]:
    """Yield NeMo Gym's row: the request, and the fields of all verifiers, of which one is set.

    ``agent_ref`` is added by Gym when it collates data sets, so it is not written.
    """
    filled = _verifier_fields(record)
    if record.ordinal == 0 and filled:
        yield {"responses_create_params": {"input": prompt(record)}} | _NO_VERIFIER | filled


_NO_VERIFIER: Final[dict[str, Any]] = dict.fromkeys(
    ("expected_answer", "options", "unit_tests", "instruction_id_list", "kwargs", "prompt")
)


def _verifier_fields(record: Record) -> dict[str, Any]:
    match record.reference:
        case AnswerReference(answer=answer):
            return {"expected_answer": answer}
        case ChoiceReference(choice=choice, choices=choices):
            letters = [{chr(ord("A") + at): text} for at, text in enumerate(choices or ())]
            return {"expected_answer": choice, "options": letters or None}
        case UnitTestsReference(cases=(_, *_) as cases):
            inputs, outputs = [c.stdin for c in cases], [c.stdout for c in cases]
            return {"unit_tests": {"inputs": inputs, "outputs": outputs}}
        case ConstraintsReference(constraints=constraints):
            return {
                "instruction_id_list": [each.name for each in constraints],
                "kwargs": [each.arguments or {} for each in constraints],
                "prompt": prompt(record)[-1]["content"],
            }
        case _:
            return {}


FORMATS: Final = (
    TrainerFormat(
        "trl-grpo",
        "TRL",
        "group-relative policy optimisation",
        ANY_KIND,
        columns(prompt=MESSAGES, solution=TEXT),
        grpo,
        "GRPOTrainer(train_dataset=load_dataset(FOLDER, split='train'), reward_funcs=…)",
    ),
    TrainerFormat(
        "nemo-gym",
        "NeMo Gym",
        "reinforcement learning",
        ANY_KIND,
        columns(
            responses_create_params=pa.struct([("input", MESSAGES)]),
            expected_answer=TEXT,
            options=TEXT,
            unit_tests=TEXT,
            instruction_id_list=pa.list_(TEXT),
            kwargs=TEXT,
            prompt=TEXT,
        ),
        gym,
        "datasets: [{name: promptmill, type: train, jsonl_fpath: FILE, license: LICENCE}]",
        files=JSON_LINES,
    ),
    TrainerFormat(
        "verl-rl",
        "verl",
        "reinforcement learning",
        ANY_KIND,
        columns(
            data_source=TEXT,
            prompt=MESSAGES,
            ability=TEXT,
            reward_model=pa.struct([("style", TEXT), ("ground_truth", TEXT)]),
            extra_info=EXTRA_INFO,
        ),
        verl,
        "data.train_files=FILE data.prompt_key=prompt data.reward_fn_key=data_source",
        files=("jsonl", "parquet"),
    ),
    TrainerFormat(
        "skyrl",
        "SkyRL",
        "reinforcement learning",
        ANY_KIND,
        columns(
            data_source=TEXT,
            prompt=MESSAGES,
            env_class=TEXT,
            reward_spec=pa.struct([("method", TEXT), ("ground_truth", TEXT)]),
            extra_info=EXTRA_INFO,
        ),
        skyrl,
        "data.train_data=[FILE]",
        files=("jsonl", "parquet"),
    ),
    TrainerFormat(
        "open-instruct-rlvr",
        "open-instruct",
        "reinforcement learning",
        ANY_KIND,
        columns(messages=MESSAGES, ground_truth=TEXT, dataset=TEXT),
        rlvr,
        "--dataset_mixer_list FILE 1.0",
        files=JSON_LINES,
    ),
)
