"""What the filter publishes for a scored message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.dedup.ports import Claim, Decision, StateLost, Verdict
from promptmill.filter.case import Case
from promptmill.filter.content import claimed_from_record
from promptmill.filter.policy import Bounds, Policy
from promptmill.filter.results import records_of
from promptmill.filter.work import Filter
from promptmill.runtime.errors import Poison
from promptmill.stream.outcome import Drop, Emit, Outcome
from promptmill.testing.dedup import MemoryClaims, MemoryDedupStore
from promptmill_schemas import Check, FunctionCall, Record, Reject, Scored, ToolCall
from promptmill_schemas.topics import RECORDS, REJECTS
from support.claims import Published
from support.scored import AT, answer, scored

LONG = (
    "Light of the sun is scattered by the molecules of the air, the short waves far more than "
    "the long ones; so blue light comes from all sides, and what is left of the sun is yellow."
)
KEEN = Policy(duplicate_similarity=0.8)
CALL = ToolCall(id="c1", function=FunctionCall(name="add", arguments="{}"))
TOOLS = ({"type": "function", "function": {"name": "add"}},)
PREFERENCE = Policy(mode="preference", min_margin=1.0)


class Desk:
    """Filters that share their claims; every one takes its policy along."""

    def __init__(self) -> None:
        self.claims = MemoryClaims(epoch=1, sketched=0)

    async def decide(self, message: Scored, policy: Policy | None = None) -> Outcome:
        policy = policy or Policy()
        dedup_store = MemoryDedupStore(
            self.claims, sketches=policy.duplicate_similarity is not None
        )
        return await Filter(policy, dedup_store, clock=lambda: AT)(message)

    async def records(self, message: Scored, policy: Policy | None = None) -> list[Record]:
        outcome = await self.decide(message, policy)
        assert isinstance(outcome, Emit)
        assert all(outgoing.topic is RECORDS for outgoing in outcome.messages)
        return [each.contract for each in outcome.messages if isinstance(each.contract, Record)]

    async def reject(self, message: Scored, policy: Policy | None = None) -> Reject:
        outcome = await self.decide(message, policy)
        assert isinstance(outcome, Emit)
        (outgoing,) = outcome.messages
        assert outgoing.topic is REJECTS
        assert isinstance(outgoing.contract, Reject)
        return outgoing.contract


@pytest.fixture
def desk() -> Desk:
    return Desk()


def only(checks: tuple[Check, ...]) -> Check:
    (check,) = checks
    return check


async def test_the_best_answer_that_passes_becomes_the_record(desk: Desk) -> None:
    message = scored(
        answer("Good.", reward=4.0),
        answer("Best, but unhelpful.", reward=6.0, helpfulness=1.0),
        answer("Better.", reward=5.0),
    )
    (record,) = await desk.records(message)
    assert (record.chosen, record.reward, record.kind) == ("Better.", 5.0, "sft")


async def test_of_equal_answers_the_first_is_taken(desk: Desk) -> None:
    (record,) = await desk.records(scored(answer("One."), answer("Two.")))
    assert record.chosen == "One."


async def test_a_record_has_the_conversation_all_candidates_and_its_provenance(desk: Desk) -> None:
    message = scored(answer("Good."), answer("Bad.", helpfulness=0.5), tags={"domain": "physics"})
    (record,) = await desk.records(message)
    prompt = message.completion.prompt
    assert [turn.role for turn in record.messages] == ["user", "assistant"]
    assert record.messages[-1].content == "Good."
    assert record.candidates == message.graded_candidates()
    assert (record.prompt_id, record.run, record.tags) == (prompt.prompt_id, "test", prompt.tags)
    assert (record.scorer, record.generator) == (message.scorer, message.completion.generator)
    assert (record.policy_version, record.created_at) == (Policy().version, AT)


async def test_mode_all_makes_a_record_of_every_answer_that_passes(desk: Desk) -> None:
    message = scored(
        answer("Good.", 4.0), answer("Bad.", 9.0, helpfulness=1.0), answer("Better.", 5.0)
    )
    records = await desk.records(message, Policy(mode="all"))
    assert [record.chosen for record in records] == ["Better.", "Good."]
    assert [record.ordinal for record in records] == [0, 1]
    assert [len(record.candidates) for record in records] == [3, 0]
    assert len({record.decision_id for record in records}) == 1


async def test_mode_top_k_stops_at_k(desk: Desk) -> None:
    message = scored(answer("A.", 1.0), answer("B.", 2.0), answer("C.", 3.0))
    records = await desk.records(message, Policy(mode="top-k", top_k=2))
    assert [record.chosen for record in records] == ["C.", "B."]


async def test_equal_texts_are_one_record(desk: Desk) -> None:
    message = scored(answer("Same.", 2.0), answer("Same.", 3.0), answer(" Same.\n", 1.0))
    records = await desk.records(message, Policy(mode="all"))
    assert [(record.chosen, record.reward) for record in records] == [("Same.", 3.0)]


async def test_a_preference_is_the_best_against_the_worst(desk: Desk) -> None:
    message = scored(
        answer("Good.", 4.0), answer("Worst.", 1.0, helpfulness=0.5), answer("B.", 3.0)
    )
    (record,) = await desk.records(message, PREFERENCE)
    assert (record.kind, record.chosen, record.rejected) == ("preference", "Good.", "Worst.")
    assert (record.reward, record.rejected_reward, record.margin) == (4.0, 1.0, 3.0)
    assert record.rejected_scores is not None
    assert record.rejected_scores.helpfulness == 0.5
    assert record.messages == message.completion.prompt.messages


async def test_the_chosen_answer_of_a_preference_must_pass_the_limits(desk: Desk) -> None:
    message = scored(answer("Best.", 9.0, helpfulness=1.0), answer("Ok.", 5.0), answer("Bad.", 1.0))
    (record,) = await desk.records(message, PREFERENCE)
    assert (record.chosen, record.rejected) == ("Ok.", "Bad.")


async def test_a_preference_may_differ_in_case_only(desk: Desk) -> None:
    (record,) = await desk.records(scored(answer("US", 5.0), answer("us", 1.0)), PREFERENCE)
    assert (record.chosen, record.rejected) == ("US", "us")


async def test_a_record_keeps_calls_reasoning_and_what_its_prompt_says(desk: Desk) -> None:
    message = with_tools(scored(answer("Good.", 5.0), answer("", 1.0)))
    (record,) = await desk.records(message, PREFERENCE)
    assert record.chosen_reasoning_content == "Hm."
    assert record.rejected_tool_calls == (CALL,)
    (record,) = await desk.records(with_tools(scored(answer("Good.", 5.0), run="two")))
    assert record.messages[-1].reasoning_content == "Hm."
    assert (record.tools, record.category, record.licence) == (TOOLS, "math", "CC0-1.0")
    reject = await desk.reject(with_tools(scored(answer("Bad.", helpfulness=0.0), run="three")))
    assert reject.candidates[0].reasoning_content == "Hm."
    assert reject.tools == TOOLS


def with_tools(message: Scored) -> Scored:
    """The message with tools, reasoning of the first answer, and a call in an empty one."""
    completion = message.completion
    prompt = completion.prompt.model_copy(
        update={"tools": TOOLS, "category": "math", "licence": "CC0-1.0"}
    )
    candidates = tuple(
        each.model_copy(
            update={
                "reasoning_content": None if each.index else "Hm.",
                "tool_calls": None if each.text else (CALL,),
            }
        )
        for each in completion.candidates
    )
    completion = completion.model_copy(update={"prompt": prompt, "candidates": candidates})
    return message.model_copy(update={"completion": completion})


async def test_a_preference_never_rejects_an_empty_or_an_equal_text(desk: Desk) -> None:
    message = scored(
        answer("Good.", 5.0), answer("Good. ", 1.0), answer(" ", 0.0), answer("B.", 2.0)
    )
    (record,) = await desk.records(message, PREFERENCE)
    assert record.rejected == "B."


async def test_an_answer_ahead_by_exactly_the_margin_is_preferred(desk: Desk) -> None:
    (record,) = await desk.records(scored(answer("A.", 4.0), answer("B.", 3.0)), PREFERENCE)
    assert (record.chosen, record.rejected, record.margin) == ("A.", "B.", 1.0)


async def test_answers_too_close_to_prefer_one_are_rejected_with_their_margin(desk: Desk) -> None:
    reject = await desk.reject(scored(answer("A.", 4.0), answer("B.", 3.5)), PREFERENCE)
    check = only(reject.candidates[0].checks)
    assert (check.name, check.value, check.limit, check.margin) == ("min_margin", 0.5, 1.0, 0.5)
    assert reject.reason == "below_limit"
    assert "margin 0.5 is below 1.0 by 0.5" in reject.detail


async def test_a_single_answer_is_no_preference(desk: Desk) -> None:
    reject = await desk.reject(scored(answer("A.")), PREFERENCE)
    assert "no other answer" in reject.detail


async def test_a_reject_lists_every_candidate_with_all_that_it_failed(desk: Desk) -> None:
    message = scored(
        answer("A.", 2.0, helpfulness=2.5, verbosity=3.0),
        answer("B.", 1.0, helpfulness=1.0),
        answer("", 0.0),
        answer("C.", refusal="the server answered NaN"),
    )
    limits = {"helpfulness": Bounds(min=3.0), "verbosity": Bounds(max=2.0)}
    reject = await desk.reject(message, Policy(limits=limits))
    assert [[check.name for check in each.checks] for each in reject.candidates] == [
        ["min_helpfulness", "max_verbosity"],
        ["min_helpfulness"],
        ["text"],
        ["graded"],
    ]
    assert reject.reason == "below_limit"
    assert reject.detail == (
        "answer 0 of 4: helpfulness 2.5 is below 3.0 by 0.5; verbosity 3.0 is above 2.0 by 1"
    )


async def test_answers_without_any_grade_are_rejected_as_ungraded(desk: Desk) -> None:
    reject = await desk.reject(scored(answer("A.", refusal="longer than the context")))
    assert (reject.reason, reject.candidates[0].scores) == ("ungraded", None)
    assert "longer than the context" in reject.detail


async def test_a_duplicate_is_rejected_with_its_owner(desk: Desk) -> None:
    (record,) = await desk.records(scored(answer("Rayleigh scattering."), run="one"))
    reject = await desk.reject(scored(answer("Rayleigh scattering.\n"), run="two"))
    (failed,) = reject.candidates
    assert reject.reason == "duplicate_exact"
    assert failed.duplicate is not None
    assert (failed.duplicate.record_id, failed.duplicate.similarity) == (record.record_id, 1.0)
    assert only(failed.checks).name == "duplicate_exact"
    assert record.record_id in reject.detail


async def test_a_duplicate_makes_room_for_the_next_best_answer(desk: Desk) -> None:
    await desk.records(scored(answer("Taken."), run="one"))
    message = scored(answer("Taken. ", 9.0), answer("Free.", 4.0), run="two")
    (record,) = await desk.records(message)
    assert record.chosen == "Free."
    assert (await desk.records(message))[0].record_id == record.record_id


async def test_a_reject_of_duplicates_lists_the_other_answers_too(desk: Desk) -> None:
    await desk.records(scored(answer("Taken."), run="one"))
    message = scored(answer("Bad.", 9.0, helpfulness=1.0), answer("Taken.\n", 4.0), run="two")
    reject = await desk.reject(message)
    assert [only(each.checks).name for each in reject.candidates] == [
        "min_helpfulness",
        "duplicate_exact",
    ]
    assert reject.reason == "duplicate_exact"


async def test_a_near_duplicate_is_rejected_with_its_owner_and_similarity(desk: Desk) -> None:
    (record,) = await desk.records(scored(answer(LONG), run="one"), KEEN)
    reject = await desk.reject(scored(answer(LONG.replace("sun", "star")), run="two"), KEEN)
    (failed,) = reject.candidates
    assert reject.reason == "duplicate_near"
    assert failed.duplicate is not None
    assert failed.duplicate.record_id == record.record_id
    check = only(failed.checks)
    assert (check.name, check.limit, check.value) == (
        "duplicate_near",
        0.8,
        failed.duplicate.similarity,
    )
    assert 0.8 <= failed.duplicate.similarity < 1.0
    assert record.record_id in reject.detail


async def test_near_duplicates_are_only_looked_for_when_asked(desk: Desk) -> None:
    await desk.records(scored(answer(LONG), run="one"))
    twin = scored(answer(LONG.replace("sun", "star")), run="two")
    assert len(await desk.records(twin)) == 1


async def test_a_near_duplicate_makes_room_for_the_next_best_answer(desk: Desk) -> None:
    await desk.records(scored(answer(LONG), run="one"), KEEN)
    message = scored(answer(LONG + " Yes.", 9.0), answer("Free.", 4.0), run="two")
    (record,) = await desk.records(message, KEEN)
    assert record.chosen == "Free."


async def test_a_record_has_the_same_sketch_when_it_is_claimed_and_when_it_is_loaded() -> None:
    for mode in ("best", "preference"):
        policy = KEEN.model_copy(update={"mode": mode})
        case = Case.of(scored(answer(LONG, 5.0), answer("No " + LONG, 1.0)), policy)
        (option,) = case.claim().options[:1]
        verdict = Verdict((option.record_id[:8],), policy.version)
        (record,) = records_of(case, verdict, AT)
        assert claimed_from_record(record, sketched=True).records == (option,)
        assert option.sketch is not None
        assert claimed_from_record(record).records == (replace(option, sketch=None),)


async def test_the_same_message_again_gives_the_same_records(desk: Desk) -> None:
    for policy in (Policy(), Policy(mode="all"), PREFERENCE):
        message = scored(answer("A.", 4.0), answer("B.", 1.0), run=f"run-{policy.mode}")
        first = await desk.records(message, policy)
        assert await desk.records(message, policy) == first


async def test_the_same_message_again_gives_the_same_reject(desk: Desk) -> None:
    await desk.records(scored(answer("Taken."), run="one"))
    for message in (scored(answer("Taken.\n"), run="two"), scored(answer("X.", helpfulness=0.0))):
        assert await desk.reject(message) == await desk.reject(message)


async def test_another_generation_of_a_decided_prompt_is_dropped(desk: Desk) -> None:
    await desk.decide(scored(answer("First.")))
    assert await desk.decide(scored(answer("Second."))) == Drop("variant")
    await desk.decide(scored(answer("Bad.", helpfulness=0.0), ask="Another?"))
    assert await desk.decide(scored(answer("Good."), ask="Another?")) == Drop("variant")


async def test_a_replayed_dead_letter_is_decided_like_any_other(desk: Desk) -> None:
    message = scored(answer("A."))
    prompt = message.completion.prompt.model_copy(update={"replays": 2})
    completion = message.completion.model_copy(update={"prompt": prompt})
    (record,) = await desk.records(message.model_copy(update={"completion": completion}))
    assert record.replays == 2
    assert record.record_id == (await desk.records(message))[0].record_id


async def test_a_stricter_policy_does_not_revise_what_was_accepted(desk: Desk) -> None:
    message = scored(answer("A.", 4.0), answer("B.", 1.0))
    strict = Policy(name="strict", limits={"reward": Bounds(min=99)})
    for policy in (Policy(), Policy(mode="all"), PREFERENCE):
        desk.claims.empty()
        desk.claims.epoch = 1
        first = await desk.records(message, policy)
        assert await desk.records(message, strict) == first
        assert {record.policy_version for record in first} == {policy.version}


async def test_a_looser_policy_does_not_revise_what_was_rejected(desk: Desk) -> None:
    message = scored(answer("A.", helpfulness=2.0))
    strict, loose = Policy(), Policy(limits={})
    await desk.reject(message, strict)
    reject = await desk.reject(message, loose)
    assert reject.policy_version == strict.version
    check = only(reject.candidates[0].checks)
    assert check.name == "earlier_decision"
    assert strict.version in (check.detail or "")


async def test_nothing_is_published_while_the_claims_are_lost(desk: Desk) -> None:
    desk.claims.empty()
    with pytest.raises(StateLost):
        await desk.decide(scored(answer("A.")))


async def test_a_crash_between_claim_and_publication_changes_nothing(desk: Desk) -> None:
    message = scored(answer("A.", 4.0), answer("B.", 5.0))
    await desk.decide(message)  # its outcome is lost with the process
    (record,) = await desk.records(message)
    twin = await desk.reject(scored(answer("B."), run="twin"))
    assert twin.candidates[0].duplicate is not None
    assert twin.candidates[0].duplicate.record_id == record.record_id


async def test_claims_that_name_an_impossible_record_are_poison() -> None:
    class Forgetful:
        async def claim(self, claim: Claim) -> Decision:
            return Verdict(accepted=("00000000",), policy=claim.policy)

    with pytest.raises(Poison, match="00000000"):
        await Filter(Policy(), Forgetful())(scored(answer("A.")))


async def test_scores_as_far_apart_as_floats_go_are_decided(desk: Desk) -> None:
    far = scored(answer("A.", 1.7e308), answer("B.", -1.7e308))
    (record,) = await desk.records(far, PREFERENCE)
    assert record.margin is not None
    low = Policy(limits={"reward": Bounds(min=1.7e308)})
    reject = await desk.reject(scored(answer("A.", -1.7e308)), low)
    assert only(reject.candidates[0].checks).margin is not None


async def test_the_first_rebuild_of_an_empty_store_opens_the_desk(desk: Desk) -> None:
    desk.claims.empty()
    await MemoryDedupStore(desk.claims).rebuild(Published())
    assert len(await desk.records(scored(answer("A.")))) == 1
