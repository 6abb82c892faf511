"""JSON Schemas of one row of each format, written from the trainers' own documentation."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "number"}
SCORE = {"type": "integer", "minimum": 0, "maximum": 4}
ROLE = {"enum": ["system", "user", "assistant"]}


def an_object(**fields: Any) -> dict[str, Any]:
    """An object with exactly these fields."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def a_list(items: Any, **limits: Any) -> dict[str, Any]:
    """A list of these items."""
    return {"type": "array", "items": items, "minItems": 1, **limits}


MESSAGE = an_object(role=ROLE, content=TEXT)
ANSWER = an_object(role={"const": "assistant"}, content=TEXT)
MESSAGES = a_list(MESSAGE)
ONE_ANSWER = a_list(ANSWER, maxItems=1)
SHAREGPT = an_object(**{"from": {"enum": ["system", "human", "gpt"]}, "value": TEXT})
TEMPLATED = {"type": "string", "pattern": r"^<extra_id_0>System\n[\s\S]*<extra_id_1>Assistant\n$"}
JUDGED = {"type": "string", "pattern": r"^<extra_id_0>System\n[\s\S]*\n<extra_id_2>$"}
ENDED = {"type": "string", "pattern": r"[\s\S]\n<extra_id_1>$"}
LABEL = r"^helpfulness:[0-4],correctness:[0-4],coherence:[0-4],complexity:[0-4],verbosity:[0-4]$"
STEERLM_TURN = an_object(
    **{
        "value": TEXT,
        "from": {"enum": ["User", "Assistant"]},
        "label": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": LABEL}]},
    }
)
STRENGTH = {"enum": [-3, -2, -1, 1, 2, 3]}
RANKED = a_list(an_object(rank={"enum": [0, 1]}, completion=ONE_ANSWER), minItems=2, maxItems=2)

ROWS: dict[str, dict[str, Any]] = {
    "trl-sft": an_object(messages=MESSAGES),
    "trl-prompt-completion": an_object(prompt=MESSAGES, completion=ONE_ANSWER),
    "trl-dpo": an_object(prompt=MESSAGES, chosen=ONE_ANSWER, rejected=ONE_ANSWER),
    "trl-reward": an_object(chosen=MESSAGES, rejected=MESSAGES, margin=NUMBER),
    "trl-kto": an_object(prompt=MESSAGES, completion=ONE_ANSWER, label={"type": "boolean"}),
    "nemo-rl-sft": an_object(messages=MESSAGES),
    "nemo-rl-preference": an_object(context=MESSAGES, completions=RANKED),
    "nemo-rl-binary-preference": an_object(prompt=MESSAGES, chosen=TEXT, rejected=TEXT),
    "nemo-automodel": an_object(messages=MESSAGES),
    "openrlhf-sft": an_object(input=MESSAGES),
    "openrlhf-preference": an_object(
        prompt=MESSAGES, chosen=ONE_ANSWER, rejected=ONE_ANSWER, margin=NUMBER
    ),
    "axolotl-sft": an_object(messages=MESSAGES),
    "axolotl-dpo": an_object(messages=MESSAGES, chosen=ANSWER, rejected=ANSWER),
    "llama-factory-sft": an_object(messages=MESSAGES),
    "llama-factory-preference": an_object(
        conversations=a_list(SHAREGPT), chosen=SHAREGPT, rejected=SHAREGPT
    ),
    "prime-rl-sft": an_object(messages=MESSAGES),
    "open-instruct-sft": an_object(messages=MESSAGES),
    "open-instruct-preference": an_object(chosen=MESSAGES, rejected=MESSAGES),
    "helpsteer2": an_object(
        prompt=TEXT,
        response=TEXT,
        helpfulness=SCORE,
        correctness=SCORE,
        coherence=SCORE,
        complexity=SCORE,
        verbosity=SCORE,
    ),
    "helpsteer2-preference": an_object(
        prompt=TEXT,
        response_1=TEXT,
        response_2=TEXT,
        preference_strength=STRENGTH,
        split={"enum": ["train", "val"]},
    ),
    "helpsteer3-preference": an_object(
        domain=TEXT,
        language=TEXT,
        context=MESSAGES,
        response1=TEXT,
        response2=TEXT,
        overall_preference=STRENGTH,
    ),
    "aligner-sft": an_object(input=TEMPLATED, output=TEXT),
    "aligner-steerlm": an_object(
        conversations=a_list(STEERLM_TURN, minItems=2),
        system={"type": "string"},
        mask={"const": "User"},
        type={"const": "VALUE_TO_TEXT"},
    ),
    "aligner-regression": an_object(text=JUDGED, label=a_list(NUMBER, minItems=9, maxItems=9)),
    "aligner-pairwise": an_object(text=JUDGED),
    "aligner-dpo": an_object(
        prompt=TEMPLATED,
        chosen_response=ENDED,
        rejected_response=ENDED,
        chosen_reward=NUMBER,
        rejected_reward=NUMBER,
    ),
    "trl-grpo": an_object(prompt=MESSAGES, solution={"type": ["string", "null"]}),
    "verl-rl": an_object(
        data_source=TEXT,
        prompt=MESSAGES,
        ability=TEXT,
        reward_model=an_object(style={"const": "rule"}, ground_truth=TEXT),
        extra_info=an_object(split=TEXT, index={"type": "integer", "minimum": 0}),
    ),
    "verl-sft": an_object(messages=MESSAGES),
    "skyrl": an_object(
        data_source=TEXT,
        prompt=MESSAGES,
        env_class=TEXT,
        reward_spec=an_object(method={"const": "rule"}, ground_truth=TEXT),
        extra_info=an_object(split=TEXT, index={"type": "integer", "minimum": 0}),
    ),
    "open-instruct-rlvr": an_object(
        messages=a_list(MESSAGE, minItems=2), ground_truth=TEXT, dataset=TEXT
    ),
    "nemo-gym": an_object(
        responses_create_params=an_object(input=MESSAGES),
        expected_answer={"type": ["string", "null"]},
        options={"anyOf": [{"type": "null"}, a_list({"type": "object"})]},
        unit_tests={"anyOf": [{"type": "null"}, an_object(inputs=a_list({}), outputs=a_list({}))]},
        instruction_id_list={"anyOf": [{"type": "null"}, a_list(TEXT)]},
        kwargs={"anyOf": [{"type": "null"}, a_list({"type": "object"})]},
        prompt={"type": ["string", "null"]},
    ),
    "nemotron-post-training": an_object(
        uuid={"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        license={"type": ["string", "null"]},
        generator=TEXT,
        version=TEXT,
        category=TEXT,
        reasoning={"enum": ["on", "off"]},
        messages=a_list(an_object(role=ROLE, content=TEXT, tool_calls={"type": "array"})),
        metadata=TEXT,
    ),
    "openai-batch": an_object(
        id=TEXT,
        custom_id=TEXT,
        response=an_object(
            status_code={"const": 200},
            request_id=TEXT,
            body={
                "type": "object",
                "required": ["id", "object", "created", "model", "choices"],
                "properties": {"choices": a_list({"type": "object"})},
            },
        ),
        error={"type": "null"},
    ),
}
