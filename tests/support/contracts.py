"""Hypothesis strategies for every contract; each draws whole, consistent messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from promptmill_schemas import (
    AttributeScores,
    Candidate,
    Check,
    Completion,
    Contract,
    DeadLetter,
    Duplicate,
    FailedCandidate,
    FunctionCall,
    Generator,
    Grade,
    Message,
    Prompt,
    Record,
    Reject,
    Sampling,
    Scored,
    Scorer,
    StructuredOutput,
    Timings,
    ToolCall,
)
from promptmill_schemas.dead_letter import to_base64
from promptmill_schemas.headers import DESCRIPTIONS
from promptmill_schemas.ids import candidate_seed, digest, letter_id, record_id, text_digest
from promptmill_schemas.message import answer_digest
from promptmill_schemas.reference import (
    AnswerReference,
    ChoiceReference,
    SchemaReference,
    UnitTestsReference,
)

MAX_EXAMPLE_CANDIDATES = 4

texts = st.text(max_size=60)
words = st.text(min_size=1, max_size=20)
counts = st.integers(0, 2**31)
finite = st.floats(allow_nan=False, allow_infinity=False)
run_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
tags = st.dictionaries(words, texts, max_size=3)
ids = st.binary(max_size=8).map(lambda raw: digest("test", raw.hex()))
durations = st.floats(0, 1e6, allow_nan=False)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.one_of(st.just(UTC), zones),
)
json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
structured = st.one_of(
    st.builds(StructuredOutput, json_schema=st.dictionaries(words, json_values, max_size=3)),
    st.builds(StructuredOutput, regex=words),
    st.builds(StructuredOutput, choice=st.lists(words, min_size=1, max_size=3).map(tuple)),
    st.builds(StructuredOutput, json_object=st.just(True), strict=st.none() | st.booleans()),
)
samplings = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1, exclude_min=True),
    top_k=st.none() | st.integers(1, 1000),
    min_p=st.floats(0, 1),
    max_tokens=st.integers(1, 131_072),
    stop=st.lists(words, max_size=3).map(tuple),
    seed=st.none() | st.integers(0, 2**63 - 1),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    repetition_penalty=st.floats(0, 2, exclude_min=True),
    logprobs=st.booleans(),
    structured=st.none() | structured,
)
generators = st.builds(
    Generator,
    engine=words,
    model=words,
    revision=texts,
    tensor_parallel=st.integers(1, 64),
    template_digest=texts,
    adapter=st.none() | words,
)
timings = st.builds(Timings, started_at=times, queued_s=durations, work_s=durations)
scores = st.builds(
    AttributeScores,
    helpfulness=finite,
    correctness=finite,
    coherence=finite,
    complexity=finite,
    verbosity=finite,
)
scorers = st.builds(
    Scorer,
    engine=words,
    model=words,
    revision=texts,
    weights=scores,
    calibration=st.dictionaries(words, st.tuples(finite, finite), max_size=2),
)
duplicates = st.builds(Duplicate, record_id=ids, similarity=st.floats(0, 1))
checks = st.builds(
    Check,
    name=words,
    value=st.none() | finite,
    limit=st.none() | finite,
    margin=st.none() | finite,
    detail=st.none() | texts,
)
json_objects = st.dictionaries(words, json_values, max_size=3)
tool_calls = st.lists(
    st.builds(
        ToolCall,
        id=st.none() | words,
        function=st.builds(FunctionCall, name=words, arguments=texts),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
tools = st.builds(
    lambda name, more: ({"type": "function", "function": {**more, "name": name}},),
    words,
    json_objects,
)
references = st.one_of(
    st.builds(AnswerReference, kind=st.just("answer"), answer=words),
    st.builds(ChoiceReference, kind=st.just("choice"), choice=words),
    st.builds(UnitTestsReference, kind=st.just("unit_tests"), tests=st.just(("pass",))),
    st.builds(SchemaReference, kind=st.just("schema"), json_schema=json_objects),
)
origins: SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "tools": tools,
        "chat_template_kwargs": json_objects,
        "reference": references,
        "category": words,
        "licence": words,
    },
)
"""The optional fields that a record has from its prompt."""

reasoning: SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={"reasoning_content": texts, "reasoning_tokens": counts, "tool_calls": tool_calls}
)
"""The optional fields of an answer."""

roles = st.sampled_from(("system", "developer", "user", "assistant"))
messages = st.one_of(
    st.builds(Message, role=roles, content=words, name=st.none() | words),
    st.builds(
        Message,
        role=st.just("assistant"),
        content=texts,
        tool_calls=tool_calls,
        reasoning_content=st.none() | texts,
    ),
    st.builds(Message, role=st.just("tool"), content=texts, tool_call_id=st.none() | words),
)
asking = st.builds(Message, role=st.sampled_from(("system", "user")), content=words)
conversations = st.tuples(st.lists(messages, max_size=3).map(tuple), asking).map(
    lambda parts: (*parts[0], parts[1])
)


@st.composite
def prompts(draw: DrawFn) -> Prompt:
    """Prompts whose id fits their content, with at most four candidates."""
    prompt = Prompt.create(
        draw(run_names),
        draw(conversations),
        n=draw(st.integers(1, MAX_EXAMPLE_CANDIDATES)),
        sampling=draw(samplings),
        adapter=draw(st.none() | words),
        tags=draw(tags),
        created_at=draw(times),
        draw=draw(st.none() | st.integers(1, 9)),
        extra_body=draw(json_objects),
        **draw(origins),
    )
    return prompt.model_copy(update={"replays": draw(counts)})


@st.composite
def candidates(draw: DrawFn, prompt: Prompt, index: int) -> Candidate:
    """An answer to ``prompt`` with the seed and digest that belong to it."""
    text, more = draw(texts), draw(reasoning)
    return Candidate(
        index=index,
        text=text,
        finish_reason=draw(words),
        prompt_tokens=draw(counts),
        completion_tokens=draw(counts),
        seed=candidate_seed(prompt.prompt_id, index),
        digest=answer_digest(text, more.get("tool_calls")),
        logprob=draw(st.none() | finite),
        **more,
    )


@st.composite
def completions(draw: DrawFn) -> Completion:
    """Prompts with all of their candidates."""
    prompt = draw(prompts())
    return Completion(
        prompt=prompt,
        candidates=tuple(draw(candidates(prompt, index)) for index in range(prompt.n)),
        generator=draw(generators),
        timings=draw(timings),
    )


spreads = finite.map(abs)


@st.composite
def grades(draw: DrawFn, index: int) -> Grade:
    """Scores and a reward, or a refusal."""
    if draw(st.booleans()):
        return Grade(index=index, refusal=draw(words))
    disagreement = draw(st.none() | spreads)
    return Grade(index=index, scores=draw(scores), reward=draw(finite), disagreement=disagreement)


@st.composite
def scored(draw: DrawFn) -> Scored:
    """Completions with one grade for each candidate."""
    completion = draw(completions())
    return Scored(
        completion=completion,
        grades=tuple(draw(grades(candidate.index)) for candidate in completion.candidates),
        scorer=draw(scorers),
        timings=draw(timings),
    )


@st.composite
def records(draw: DrawFn) -> Record:
    """Records of either kind, from a drawn message of the filter."""
    graded, chosen = draw(scored()), draw(texts)
    prompt = graded.completion.prompt
    pair: dict[str, Any] = {}
    if kind_is_pair := draw(st.booleans()):
        pair = {
            "rejected": draw(texts),
            "rejected_scores": draw(scores),
            "rejected_reward": draw(finite),
            "margin": draw(finite),
            "chosen_reasoning_content": draw(st.none() | texts),
            "rejected_tool_calls": draw(st.none() | tool_calls),
        }
    kind = "preference" if kind_is_pair else "sft"
    return Record(
        record_id=record_id(prompt.prompt_id, kind, text_digest(chosen)),
        prompt_id=prompt.prompt_id,
        decision_id=draw(ids),
        run=prompt.run,
        kind=kind,
        ordinal=draw(counts),
        messages=prompt.messages,
        chosen=chosen,
        scores=draw(scores),
        reward=draw(finite),
        candidates=graded.graded_candidates(),
        sampling=prompt.sampling,
        tags=prompt.tags,
        generator=graded.completion.generator,
        scorer=graded.scorer,
        policy_version=draw(words),
        replays=prompt.replays,
        created_at=draw(times),
        **pair,
        **draw(origins),
    )


@st.composite
def failed_candidates(draw: DrawFn, index: int) -> FailedCandidate:
    """Answers with at least one failed check."""
    return FailedCandidate(
        index=index,
        text=draw(texts),
        finish_reason=draw(words),
        completion_tokens=draw(counts),
        scores=draw(st.none() | scores),
        reward=draw(st.none() | finite),
        checks=tuple(draw(st.lists(checks, min_size=1, max_size=2))),
        duplicate=draw(st.none() | duplicates),
        disagreement=draw(st.none() | spreads),
        **draw(reasoning),
    )


@st.composite
def rejects(draw: DrawFn) -> Reject:
    """Refusals of all candidates of a prompt."""
    prompt = draw(prompts())
    return Reject(
        prompt_id=prompt.prompt_id,
        decision_id=draw(ids),
        run=prompt.run,
        reason=draw(
            st.sampled_from(("below_limit", "duplicate_exact", "duplicate_near", "ungraded"))
        ),
        detail=draw(words),
        messages=prompt.messages,
        candidates=tuple(draw(failed_candidates(index)) for index in range(prompt.n)),
        sampling=prompt.sampling,
        tags=prompt.tags,
        generator=draw(generators),
        scorer=draw(scorers),
        policy_version=draw(words),
        replays=prompt.replays,
        created_at=draw(times),
        **draw(origins),
    )


@st.composite
def dead_letters(draw: DrawFn) -> DeadLetter:
    """Letters with any bytes, and with or without a prompt's id."""
    topic, partition, offset = draw(words), draw(st.integers(0, 99)), draw(counts)
    replays, known = draw(counts), draw(st.booleans())
    return DeadLetter(
        letter_id=letter_id(topic, partition, offset, replays),
        state=draw(st.sampled_from(("dead", "replayed"))),
        prompt_id=draw(ids) if known else None,
        run=draw(run_names) if known else None,
        stage=draw(words),
        topic=topic,
        partition=partition,
        offset=offset,
        key=to_base64(draw(st.none() | st.binary(max_size=20))),
        value=to_base64(draw(st.none() | st.binary(max_size=200))),
        headers=draw(st.none() | st.dictionaries(st.sampled_from(list(DESCRIPTIONS)), words)),
        reason=draw(words),
        detail=draw(words),
        attempts=draw(st.integers(1, 99)),
        replays=replays,
        created_at=draw(times),
    )


CONTRACTS: Final[dict[type[Contract], SearchStrategy[Any]]] = {
    Prompt: prompts(),
    Completion: completions(),
    Scored: scored(),
    Record: records(),
    Reject: rejects(),
    DeadLetter: dead_letters(),
}
"""The strategy of each contract that a topic carries."""
