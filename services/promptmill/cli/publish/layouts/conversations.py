"""Layouts whose rows hold a conversation."""

from __future__ import annotations

from typing import Any, Final

from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.plain import (
    OPTIONS,
    Names,
    Row,
    answer_reference,
    column_of,
    parsed,
    present,
)
from promptmill.cli.publish.layouts.turns import foreign_turns, split_answer

OWN_IDS: Final = ("custom_id", "id", "uuid", "prompt_id", "conversation_id", "conversation_hash")
TRUTHS: Final = ("expected_answer", "ground_truth", "answer", "solution")
LICENCE: Final = "license"
SAMPLING_OF_RESPONSES: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
}


def shared_fields(row: Row) -> tuple[Row, Names]:
    """Return the fields that every layout shares: promptmill's options, an id, the licence."""
    fields: Row = {name: row[name] for name in OPTIONS if row.get(name) is not None}
    names: Names = {}
    if "tools" in fields:
        fields["tools"] = foreign_tools(fields["tools"])
    if "licence" not in fields and isinstance(row.get(LICENCE), str):
        fields["licence"], names["licence"] = row[LICENCE], LICENCE
    for name in OWN_IDS:
        if type(row.get(name)) is int or (isinstance(row.get(name), str) and row[name]):
            fields["custom_id"], names["custom_id"] = row[name], name
            break
    return fields, names


def foreign_tools(value: Any) -> Any:
    """Convert the tools of a data set, which may be JSON text or lack OpenAI's outer object."""
    tools = parsed(value) or None
    return [_tool(tool) for tool in tools] if isinstance(tools, list) else tools


def _tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or ("type" in tool and "function" in tool):
        return tool
    function = tool.get("function") or {k: v for k, v in tool.items() if k != "type"}
    return {"type": tool.get("type", "function"), "function": function}


def asked(row: Row, column: str, turns: Any, policy: LastAnswer) -> tuple[Row, Names]:
    """Read a conversation from a column; an answer at its end may become the reference."""
    fields, names = shared_fields(row)
    fields["messages"], answer = split_answer(foreign_turns(turns), policy)
    names["messages"] = column
    if answer is not None:
        fields.setdefault("reference", answer)
    return fields, names


def sharegpt(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``conversations`` of ``{"from", "value"}``, ``system`` and ``tools``."""
    column = column_of(row, "conversations", "conversation")
    turns = row[column]
    if isinstance(row.get("system"), str) and isinstance(turns, list):
        turns = [{"role": "system", "content": row["system"]}, *turns]
    return asked(row, column, turns, policy)


def messages(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``messages``; a column ``prompt`` only repeats the first of them."""
    return asked(row, "messages", row[column_of(row, "messages")], policy)


def nemotron(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``messages``, or ``input`` and ``output``; ``reasoning`` becomes a tag."""
    column = column_of(row, "messages", "input")
    turns = _as_turns(row[column])
    if isinstance(row.get("system_prompt"), str) and isinstance(turns, list):
        turns = [{"role": "system", "content": row["system_prompt"]}, *turns]
    if column == "input" and isinstance(row.get("output"), str) and isinstance(turns, list):
        turns = [*turns, {"role": "assistant", "content": row["output"]}]
    fields, names = asked(row, column, turns, policy)
    _add_truth(fields, row)
    metadata = parsed(row.get("metadata"))
    if "tools" not in fields and isinstance(metadata, dict) and metadata.get("tools"):
        fields["tools"] = foreign_tools(metadata["tools"])
    if isinstance(row.get("reasoning"), str):
        fields["tags"] = {"reasoning": row["reasoning"], **(fields.get("tags") or {})}
    return fields, names


def trl(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``prompt`` as text or turns, ``messages``, or ``chosen`` that includes the prompt.

    A ground truth (``solution``, ``ground_truth``) takes precedence over a given answer. An answer
    with the label false is not used.
    """
    column = column_of(row, "prompt", "messages", "chosen")
    turns = _as_turns(row[column])
    for name in ("completion", "chosen"):
        if name != column and isinstance(turns, list) and name in row:
            turns = [*turns, *_answer_turns(row[name])]
            break
    fields, names = asked(row, column, turns, policy)
    if str(row.get("label")).lower() == "false" and "reference" not in row:
        fields.pop("reference", None)
    _add_truth(fields, row)
    return fields, names


def nemo_gym(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``responses_create_params`` in OpenAI's Responses format, and a verifier's fields."""
    column = column_of(row, "responses_create_params")
    asks = row[column] if isinstance(row[column], dict) else {}
    turns = _as_turns(asks.get("input"))
    if isinstance(turns, list):
        turns = [_item(item) for item in turns]
        turns = [{"role": "system", "content": asks.get("instructions")}, *filter(None, turns)]
    fields, names = asked(row, f"{column}.input", turns, policy)
    if asks.get("tools"):
        fields["tools"] = foreign_tools(asks["tools"])
    sampling = present({ours: asks.get(theirs) for theirs, ours in SAMPLING_OF_RESPONSES.items()})
    if sampling:
        fields["sampling"] = {**sampling, **fields.get("sampling", {})}
    _add_truth(fields, row)
    return fields, names


def _item(item: Any) -> Any:
    """Convert an input item of the Responses format to a turn; ``None`` if it is not a turn."""
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
        call = {"id": item.get("call_id"), "function": function}
        return {"role": "assistant", "tool_calls": [call]}
    if kind == "function_call_output":
        content = item.get("output")
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}
    return None if kind == "reasoning" else item


def _add_truth(fields: Row, row: Row) -> None:
    """Add the reference that a verifier checks; it takes precedence over a given answer."""
    truth = None if "reference" in row else _truth(row)
    if truth is not None:
        fields["reference"] = truth


def _truth(row: Row) -> Row | None:
    if isinstance(names := row.get("instruction_id_list"), list):
        return _constraints(names, row.get("kwargs"))
    if isinstance(tests := parsed(row.get("unit_tests")), dict) and tests.get("inputs"):
        pairs = zip(tests["inputs"], tests.get("outputs") or (), strict=False)
        return {"kind": "unit_tests", "cases": [{"stdin": i, "stdout": o} for i, o in pairs]}
    for name in TRUTHS:
        if row.get(name) is not None:
            return answer_reference(row[name])
    for column in ("reward_model", "reward_spec"):
        if isinstance(model := row.get(column), dict):
            return answer_reference(model.get("ground_truth"))
    return None


def _constraints(names: list[Any], arguments: Any) -> Row | None:
    """Return IFEval's instructions with their arguments, without those that are null."""
    given = arguments if isinstance(arguments, list) else []
    filled = [present(each) if isinstance(each, dict) else {} for each in given]
    filled += [{}] * (len(names) - len(filled))
    pairs = zip(names, filled, strict=False)
    found = [{"name": name, "arguments": each} for name, each in pairs]
    return {"kind": "constraints", "constraints": found} if found else None


def _as_turns(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _answer_turns(value: Any) -> list[Any]:
    """Return the last turn of an answer, which may repeat the whole conversation before it."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return value[-1:] if isinstance(value, list) else []
