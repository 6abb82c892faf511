"""OpenRLHF, Axolotl, LLaMA-Factory, prime-rl and open-instruct: conversations and pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa

from promptmill.export.formats import trl
from promptmill.export.formats.conversation import answer, conversation, prompt
from promptmill.export.formats.format import (
    JSON_LINES,
    MESSAGE,
    MESSAGES,
    REAL,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import Record

SHAREGPT: Final = pa.struct([("from", TEXT), ("value", TEXT)])
_SHAREGPT_ROLES: Final = {"system": "system", "user": "human", "assistant": "gpt"}
_ROLE_TAGS: Final = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def openrlhf_sft(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the whole conversation under OpenRLHF's default key."""
    yield {"input": conversation(record)}


def openrlhf_preference(record: Record, context: Context) -> Iterator[Row]:
    """Yield TRL's explicit pair with its margin."""
    for row in trl.dpo(record, context):
        yield row | {"margin": record.margin}


def axolotl_dpo(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the prompt under ``messages``, and each answer as a single message."""
    if record.rejected is not None:
        yield {
            "messages": prompt(record),
            "chosen": answer(record.chosen),
            "rejected": answer(record.rejected),
        }


def llama_factory_preference(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair in the style of ShareGPT."""
    if record.rejected is not None:
        yield {
            "conversations": [_sharegpt(m["role"], m["content"]) for m in prompt(record)],
            "chosen": _sharegpt("assistant", record.chosen),
            "rejected": _sharegpt("assistant", record.rejected),
        }


def open_instruct_preference(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair of whole conversations."""
    if record.rejected is not None:
        yield {
            "chosen": conversation(record),
            "rejected": conversation(record, record.rejected),
        }


def _sharegpt(role: str, content: str) -> dict[str, str]:
    return {"from": _SHAREGPT_ROLES[role], "value": content}


def _sft_info(paths: Mapping[str, list[str]]) -> Mapping[str, Any]:
    entry = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _ROLE_TAGS}
    return _dataset_info(paths, entry)


def _preference_info(paths: Mapping[str, list[str]]) -> Mapping[str, Any]:
    fields = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    return _dataset_info(paths, {"formatting": "sharegpt", "ranking": True, "columns": fields})


def _dataset_info(paths: Mapping[str, list[str]], entry: dict[str, Any]) -> Mapping[str, Any]:
    """Return LLaMA-Factory's index of data sets, with one entry for each split.

    An entry can name a folder, but all splits are in the same folder. An entry therefore names the
    first file of its split, and each further shard has its own entry. List all of them in
    ``dataset``, separated by commas.
    """
    entries = {
        f"promptmill_{split}" + (f"_{number}" if number else ""): {"file_name": path, **entry}
        for split, files in paths.items()
        for number, path in enumerate(files)
    }
    return {"dataset_info.json": entries}


FORMATS: Final = (
    TrainerFormat(
        "openrlhf-sft",
        "OpenRLHF",
        "supervised fine-tuning",
        ("sft",),
        columns(input=MESSAGES),
        openrlhf_sft,
        "--data.dataset FOLDER --data.input_key input --data.multiturn --data.apply_chat_template "
        "--data.max_samples ROWS",
    ),
    TrainerFormat(
        "openrlhf-preference",
        "OpenRLHF",
        "DPO and reward models",
        ("preference",),
        columns(prompt=MESSAGES, chosen=MESSAGES, rejected=MESSAGES, margin=REAL),
        openrlhf_preference,
        "--data.dataset FOLDER --data.prompt_key prompt --data.chosen_key chosen "
        "--data.rejected_key rejected --data.apply_chat_template --data.max_samples ROWS",
    ),
    TrainerFormat(
        "axolotl-sft",
        "Axolotl",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "datasets: [{path: FILE, ds_type: json, type: chat_template}]",
    ),
    TrainerFormat(
        "axolotl-dpo",
        "Axolotl",
        "direct preference optimisation",
        ("preference",),
        columns(messages=MESSAGES, chosen=MESSAGE, rejected=MESSAGE),
        axolotl_dpo,
        "rl: dpo, datasets: [{path: FILE, ds_type: json, type: chat_template.default}]",
    ),
    TrainerFormat(
        "llama-factory-sft",
        "LLaMA-Factory",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "dataset_dir: FOLDER, dataset: promptmill_train",
        files=("jsonl", "parquet"),
        companions=_sft_info,
    ),
    TrainerFormat(
        "llama-factory-preference",
        "LLaMA-Factory",
        "DPO and reward models",
        ("preference",),
        columns(conversations=pa.list_(SHAREGPT), chosen=SHAREGPT, rejected=SHAREGPT),
        llama_factory_preference,
        "dataset_dir: FOLDER, dataset: promptmill_train, stage: dpo",
        files=("jsonl", "parquet"),
        companions=_preference_info,
    ),
    TrainerFormat(
        "prime-rl-sft",
        "prime-rl",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        'data.name = "FOLDER"',
    ),
    TrainerFormat(
        "open-instruct-sft",
        "open-instruct",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "--dataset_mixer_list FILE 1.0",
        files=JSON_LINES,
    ),
    TrainerFormat(
        "open-instruct-preference",
        "open-instruct",
        "DPO and reward models",
        ("preference",),
        columns(chosen=MESSAGES, rejected=MESSAGES),
        open_instruct_preference,
        "--dataset_mixer_list FILE 1.0",
        files=JSON_LINES,
    ),
)
