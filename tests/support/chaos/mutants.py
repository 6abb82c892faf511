"""Known bugs of delivery, as changes of the source text, each with the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

STREAM = "promptmill/core/stream"
GATES = "promptmill/core/gates"
SINKS = "promptmill/core/sinks"
LOOP_CONTRACT = "tests/contract/stream/test_loop.py"
CRASH = f"{LOOP_CONTRACT}::test_after_a_crash_only_what_was_in_flight_is_done_again"
OFFSETS = "tests/property/stream/test_offsets.py"
REBALANCE = "tests/unit/stream/test_rebalance.py"
CLAIMS = "tests/contract/gates/test_claims.py"
FLIGHTS = "tests/contract/gates/test_flights.py"
REBUILD = "tests/contract/gates/test_rebuild.py"
LAYOUTS = "tests/contract/gates/test_layouts.py"
REDIS_FAULTS = "tests/contract/gates/test_redis_faults.py"
SINK_LOOP = "tests/unit/store/test_sink_loop.py"
SENDER = "tests/integration/stream/test_sender.py"
SHUTDOWN = "tests/unit/stream/test_shutdown.py"
POLLS = "tests/integration/stream/test_polls_on_kafka.py"
PAID_ONCE = "tests/integration/engines/openai/test_paid_once.py"
TOPIC_IDS = "tests/unit/stream/test_topic_ids.py"
RECREATED = "tests/integration/store/test_recreated_topics.py"
ROWS = "tests/chaos"


class Change(NamedTuple):
    """A text that stands exactly once in a file below ``services``, and what replaces it."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One known bug.

    Attributes:
        name: for people.
        changes: that put it into the source.
        tests: each of these must fail.
        rows: rows of the fault matrix that must fail too; they take a minute each.
    """

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    rows: tuple[str, ...] = ()


VERSION_IGNORED = Change(
    "promptmill/store/adoption.py",
    "starts[partition] = 0 if stored is None else stored",
    "starts[partition] = 0",
)

MUTANTS = (
    Mutant(
        "a worker believes the settled prompts of another cluster's store",
        (
            Change(
                f"{SINKS}/settled.py",
                "        snapshot.check(identities[name])\n",
                "        del name, snapshot\n",
            ),
        ),
        ("tests/integration/store/test_settled.py",),
    ),
    Mutant(
        "settled prompts are generated again",
        (
            Change(
                "promptmill/instruct/work.py",
                "if self._settled.is_settled(prompt):",
                "if False:",
            ),
        ),
        ("tests/unit/instruct/test_instruct_work.py",),
        ("tests/e2e/test_settled.py",),
    ),
    Mutant(
        "a partition is worked on before its settled prompts are read",
        (
            Change(
                f"{STREAM}/loop.py",
                "= start.is_first and self._prepare is not None",
                "= False",
            ),
        ),
        ("tests/unit/stream/test_preparing.py",),
    ),
    Mutant(
        "a request that has used up its budget is sent again by the loop",
        (
            Change(
                "promptmill/core/engines/openai/course.py",
                "        raise Exhausted(",
                "        raise Transient(",
            ),
        ),
        (f"{PAID_ONCE}::test_a_server_that_fails_one_prompt_for_good_costs_one_budget",),
    ),
    Mutant(
        "ten times the bound of kept results",
        (Change("promptmill/core/kept.py", "KEPT_PROMPTS = 1_024\n", "KEPT_PROMPTS = 10_240\n"),),
        ("tests/unit/core/test_kept.py",),
    ),
    Mutant(
        "the deaths of a record are forgotten before it is committed",
        (
            Change(
                f"{STREAM}/flights/memory.py",
                "        if entry.deaths.total:\n",
                "        if entry.deaths.total < 0:\n",
            ),
        ),
        (f"{FLIGHTS}::TestInMemory::test_what_has_ended_keeps_the_deaths_it_had",),
    ),
    Mutant(
        "records that are no suspects begin beside suspects",
        (
            Change(
                f"{STREAM}/isolation.py",
                "        return not (self.waiting or ",
                "        return not (",
            ),
        ),
        ("tests/property/stream/test_isolation.py",),
    ),
    Mutant(
        "a replaced producer goes on sending",
        (
            Change(
                f"{STREAM}/kafka/supervisor.py",
                "        await producer.abort()\n",
                "        await asyncio.wait_for(producer.stop(), 1.0)\n",
            ),
        ),
        (f"{SENDER}::test_stop_with_messages_that_nobody_takes_ends_within_its_limit",),
    ),
    Mutant(
        "a message that waits for long is sent again",
        (
            Change(
                f"{STREAM}/kafka/sender.py",
                "        if self._gives_up:\n            for",
                "        if late:\n            for",
            ),
        ),
        (f"{SENDER}::test_a_cluster_that_takes_nothing_keeps_its_one_producer",),
    ),
    Mutant(
        "large messages are decoded on the event loop",
        (
            Change(
                f"{STREAM}/large.py",
                "    if size < LARGE_BYTES:\n",
                "    if size:\n",
            ),
        ),
        ("tests/unit/stream/test_event_loop.py",),
    ),
    Mutant(
        "commit of the highest offset seen",
        (
            Change(
                f"{STREAM}/offsets.py",
                "        prefix = self.prefix\n",
                "        prefix = self._next\n",
            ),
            Change(
                f"{STREAM}/offsets.py",
                "if not self._committed <= position.offset <= self.prefix:",
                "if position.offset < self._committed:",
            ),
        ),
        (OFFSETS, f"{CRASH}[memory]"),
        (f"{ROWS}/test_instruct.py::test_01_sigkill_instruct_during_generation",),
    ),
    Mutant(
        "a step of a shutdown that hangs is waited for",
        (
            Change(
                "promptmill/core/deadline.py",
                "await asyncio.wait({task}, timeout=limit_s)",
                "await asyncio.wait({task})",
            ),
        ),
        (f"{SHUTDOWN}::test_a_call_that_hangs_does_not_outlast_the_deadline[sender.stop]",),
    ),
    Mutant(
        "bare ack(): commit of positions at delivery",
        (
            Change(
                f"{STREAM}/kafka/source.py",
                "            await self._consumer.commit(offsets)\n",
                "            await self._consumer.commit()\n",
            ),
        ),
        (f"{CRASH}[kafka]",),
        (f"{ROWS}/test_instruct.py::test_01_sigkill_instruct_during_generation",),
    ),
    Mutant(
        "commit that can go back",
        (
            Change(
                f"{STREAM}/offsets.py",
                "        if offset < self._next:\n            return False\n",
                "",
            ),
            Change(
                f"{STREAM}/offsets.py",
                "if not self._committed <= position.offset <= self.prefix:",
                "if position.offset > self.prefix:",
            ),
        ),
        (OFFSETS,),
    ),
    Mutant(
        "map not checked",
        (
            Change(
                f"{STREAM}/offset_map.py",
                "if version != _VERSION or checksum != _checksum(partition, base, payload):",
                "if version != _VERSION:",
            ),
        ),
        ("tests/property/stream/test_offset_map.py",),
    ),
    Mutant(
        "map ignored",
        (
            Change(
                f"{STREAM}/offset_map.py",
                "    return frozenset(_from_bitmap(base, bitmap))\n",
                "    return _NO_OFFSETS\n",
            ),
        ),
        (f"{CRASH}[memory]",),
        (f"{ROWS}/test_instruct.py::test_01_sigkill_instruct_during_generation",),
    ),
    Mutant(
        "claim owner ignored: taken content is accepted again",
        (
            Change(
                f"{GATES}/claim.lua",
                "    return owner ~= record.id and owner, 255\n",
                "    return false, 255\n",
            ),
        ),
        (f"{CLAIMS}::test_taken_content_is_refused_with_the_id_of_its_owner",),
        (f"{ROWS}/test_filter.py::test_22_identical_twins_at_two_filters_at_once",),
    ),
    Mutant(
        "claim owner ignored: a replay is its own duplicate",
        (
            Change(
                f"{GATES}/claim.lua",
                "standing(decision_of(call('HGET', bucket, prompt)), decision, policy, replays)",
                "standing(nil, decision, policy, replays)",
            ),
            Change(
                f"{GATES}/claim.lua",
                "    return owner ~= record.id and owner, 255\n",
                "    return owner, 255\n",
            ),
        ),
        (f"{CLAIMS}::test_a_replay_gets_the_verdict_that_it_had",),
        (f"{ROWS}/test_filter.py::test_21_sigkill_filter_between_claim_and_publish",),
    ),
    Mutant(
        "store version not read on assignment",
        (VERSION_IGNORED,),
        # No row notices: the rows that are read on assignment say what is stored as well.
        (f"{SINK_LOOP}::test_a_new_sink_goes_on_where_the_table_stands_whatever_kafka_says",),
    ),
    Mutant(
        "what stands in a wrong partition is stored there",
        (
            Change(
                "promptmill/store/plan.py",
                "self._layout.partition_of(key) != shard:",
                "self._layout.partition_of(key) != shard < 0:",
            ),
        ),
        (f"{SINK_LOOP}::test_what_stands_in_wrong_partitions_is_moved_and_stored_once",),
    ),
    Mutant(
        "the last stored message is not read back on assignment",
        (
            Change(
                "promptmill/store/adoption.py",
                "            check_last(table, found.get(partition), partition.number, at, last)\n",
                "            pass\n",
            ),
        ),
        (f"{SINK_LOOP}::test_a_topic_recreated_and_refilled_while_the_sink_was_stopped_stops_it",),
    ),
    Mutant(
        "a topic that was recreated under a running worker is not noticed",
        (
            Change(
                "promptmill/core/stream/kafka/topic_watch.py",
                "            if found.get(topic, known) != known:\n",
                "            if False:\n",
            ),
        ),
        (
            "tests/unit/stream/test_topic_ids.py::test_a_topic_with_another_id_was_created_again",
            f"{RECREATED}::test_a_topic_recreated_and_refilled_under_a_running_store_ends_it",
        ),
    ),
    Mutant(
        "neither the store's version nor its rows read on assignment",
        (
            VERSION_IGNORED,
            Change(
                "promptmill/store/loading.py",
                "    for table, load in _LOADS.items():\n",
                "    for table, load in ():\n",
            ),
        ),
        (f"{SINK_LOOP}::test_a_new_sink_goes_on_where_the_table_stands_whatever_kafka_says",),
        (f"{ROWS}/test_store.py::test_25_sigkill_store_at_every_step_of_a_commit",),
    ),
    Mutant(
        "pause not re-applied after a rebalance",
        (
            Change(
                f"{STREAM}/loop.py",
                "        self._pauses.begin(starts)\n",
                "",
            ),
        ),
        (f"{ROWS}/test_loop.py::test_08_a_rebalance_while_paused",),
    ),
    Mutant(
        "done before the acknowledgement",
        (
            Change(
                f"{STREAM}/loop.py",
                "            await self._attempts.settle(job, outcome)\n"
                '            reach("publish.acknowledged")\n'
                "            lane = await job.home()\n"
                "            lane.tracker.finish(job.delivery.offset)\n",
                "            lane = await job.home()\n"
                "            lane.tracker.finish(job.delivery.offset)\n"
                "            await self._attempts.settle(job, outcome)\n"
                '            reach("publish.acknowledged")\n',
            ),
        ),
        (f"{ROWS}/test_loop.py::test_16_nothing_is_committed_before_its_output_is_acknowledged",),
    ),
    Mutant(
        "results of an assignment that has ended are committed",
        (
            Change(
                f"{STREAM}/lanes.py",
                "            lane.leaving = lane.closed = True\n",
                "",
            ),
        ),
        (REBALANCE,),
    ),
    Mutant(
        "publishing goes on during the last commit of an assignment",
        (Change(f"{STREAM}/loop.py", "            lane.leaving = True\n", ""),),
        (REBALANCE,),
    ),
    Mutant(
        "lost claims not noticed",
        (Change(f"{GATES}/claim.lua", "if state[1] ~= ARGV[1] or (", "if not state or ("),),
        (f"{REBUILD}::test_emptied_claims_are_noticed_between_two_claims",),
        (f"{ROWS}/test_filter.py::test_23_redis_emptied",),
    ),
    Mutant(
        "rows without their position",
        (
            Change(
                f"{SINKS}/delta/ledger.py",
                "        numbers |= {position_id(self._topic, shard): at "
                "for shard, at in positions.items()}\n",
                "",
            ),
        ),
        ("tests/contract/sinks/test_sink.py",),
    ),
    Mutant(
        "a replica that attaches makes the claims count as lost",
        (
            Change(
                f"{GATES}/redis_identity.py",
                "and not (observed and self.may_continue(recorded))",
                "and True",
            ),
        ),
        (f"{REDIS_FAULTS}::test_the_first_replica_that_attaches_costs_no_rebuild",),
    ),
    Mutant(
        "a prompt that is sent again is a variant of its lost decision",
        (
            Change(
                f"{GATES}/claim.lua",
                "made.id ~= decision and replays > made.replays",
                "made.id ~= decision and false",
            ),
        ),
        ("tests/contract/gates/test_replays.py::test_more_replays_replace_the_decision",),
    ),
    Mutant(
        "claims stay in a layout that they have outgrown",
        (Change(f"{GATES}/redis_state.py", "if self.per_bucket > WIDEST and", "if False and"),),
        (f"{LAYOUTS}::test_outgrown_claims_are_rebuilt_into_more_buckets",),
    ),
    Mutant(
        "a block of a rebuild overwrites what an earlier one loaded",
        (Change(f"{GATES}/bulk.py", "(counts == 1)[at] & ~seen.add(words)", "(counts == 1)[at]"),),
        (f"{LAYOUTS}::test_blocks_that_contradict_each_other_are_merged",),
    ),
    Mutant(
        "evicted claims not noticed",
        (
            Change(
                f"{GATES}/redis_identity.py",
                "return _is_volatile(self) and _is_volatile(recorded)",
                "return True",
            ),
        ),
        (f"{REDIS_FAULTS}::test_claims_that_may_have_been_evicted_are_rebuilt",),
    ),
    Mutant(
        "what others have committed is not read",
        (
            Change(
                f"{SINKS}/delta/ledger.py",
                "            return _committed(table, self._options, missed)\n",
                "            return {}\n",
            ),
        ),
        ("tests/integration/store/test_ledger.py",),
    ),
    Mutant(
        "a flush goes on behind the claim that opened its shard anew",
        (
            Change(
                "promptmill/store/sink_loop.py",
                "        self._flusher.lose(self._shards.ready)\n",
                "",
            ),
        ),
        (f"{SINK_LOOP}::test_a_shard_assigned_again_takes_nothing_from_an_earlier_flush",),
    ),
    Mutant(
        "a mark is lost unless a message of its table is in the same flush",
        (Change("promptmill/store/plan.py", "            self._marked.add(shard)\n", ""),),
        ("tests/unit/store/test_plan.py", "tests/unit/store/test_loading.py"),
    ),
    Mutant(
        "a batch of marks alone is taken for stored",
        (
            Change(
                f"{SINKS}/delta/sink.py",
                "            return not moves and batch.rows.num_rows == 0\n",
                "            return not moves\n",
            ),
        ),
        ("tests/contract/sinks/test_sink.py",),
    ),
    Mutant(
        "an answer ahead by exactly the margin is not preferred",
        (
            Change(
                "promptmill/filter/answers.py",
                "chosen.reward - rejected.reward >= policy.margin",
                "chosen.reward - rejected.reward > policy.margin",
            ),
        ),
        ("tests/unit/filter/test_work.py",),
    ),
    Mutant(
        "the last prompt of a partition is read again at each refresh",
        (
            Change(
                "promptmill/gateway/published.py",
                "= delivery.offset + 1\n",
                "= delivery.offset\n",
            ),
        ),
        ("tests/unit/gateway/test_published.py",),
    ),
    Mutant(
        "every small file is merged in every round",
        (
            Change(
                f"{SINKS}/delta/compaction.py",
                "        if total >= min(growth * file.size, target_bytes)\n",
                "",
            ),
        ),
        ("tests/unit/store/test_compaction.py::test_few_files_wait_for_more",),
    ),
    Mutant(
        "a gap between offsets is believed at once",
        (
            Change(
                f"{STREAM}/intake.py",
                "        if delivery.offset != place.next:\n",
                "        if delivery.offset < place.next:\n",
            ),
        ),
        ("tests/unit/stream/test_gaps.py", "tests/integration/stream/test_gaps_on_kafka.py"),
    ),
    Mutant(
        "records that a failed poll has drained are dropped",
        (Change(f"{STREAM}/kafka/polling.py", "            self._rewind(before)\n", ""),),
        (f"{POLLS}::test_no_record_of_a_sound_partition_is_dropped_when_another_one_fails",),
    ),
    Mutant(
        "errors of a poll are repeated indefinitely",
        (Change(f"{STREAM}/kafka/polling.py", "            self._on_lost(end)\n", ""),),
        (f"{POLLS}::test_other_errors_end_the_member_at_once_with_a_remedy",),
    ),
)
