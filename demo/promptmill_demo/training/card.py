"""The model card, generated from the measured figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptmill_demo.models.instruct import CONTEXT as INSTRUCT_CONTEXT
from promptmill_demo.models.reward import CONTEXT as REWARD_CONTEXT
from promptmill_demo.training.stages import Plan

HEAD = """# Model card: demo-instruct and demo-reward

Two small models that promptmill trains itself (`scripts/train_demo_models`), so that its demo
shows on a laptop what the pipeline is for: a generator that is often wrong, a grader that
notices, and a filter that keeps what is right. They are not assistants: they know the few hundred
facts in `demo/promptmill_demo/tasks/` and nothing else.

| | demo-instruct | demo-reward |
|---|---|---|
| architecture | `NemotronForCausalLM` | `LlamaForSequenceClassification`, five labels |
| parameters | {instruct:,} | {reward:,} |
| context, tokens | {instruct_context:,} | {reward_context:,} |
| weights | bfloat16, safetensors | bfloat16, safetensors |
| batches of {batch} answers | {generator_steps:,} | {grader_steps:,} |

Weights and tokenizers are the project's own work, under the project's licence. No text or
weights of others were used.

## What they do
Five families of tasks whose answers a program can check: open questions (capitals, opposites,
young animals, trades), rewriting (past tense, plural, contraction), closed questions (one of two
groups, hot or cold, water or land), classification (sentiment, category, part of speech, parity)
and maths (sums of one digit, next, previous and double of a number).

The **generator** learns to make mistakes: each fact has a share of right answers between 35 and
95 % in the training text, and wrong answers of its own. It answers in a word, in a sentence, with a
reason, with padding, or rambling. Sample from it at temperature 1.

The **grader** reads a conversation with its answer and gives five scores, nominally 0 to 4. Its
labels were computed from text and ground truth, for written answers (right, wrong, hedged,
irrelevant, cut off, shuffled, rambling) and for answers of the generator. Neither model was trained
on the held-out combinations of fact and wording, but on the same facts in other wordings.

## What was measured
"""

TAIL = """
## What they cannot do
- Anything outside the tables: another country, a larger number, a passage of text. The generator
  answers regardless, and the grader's scores are meaningless there.
- Conversations of several turns, system messages, other languages than English.
- Complexity and verbosity measure form (connectives, length), not content.
- The labels are exact, and the program that computed them also wrote the training text. The figures
  above are therefore far better than those of a grader of free text, and say nothing about other
  models.

## Reproduction
`scripts/train_demo_models` writes both models, this card and `figures.json`; seed {seed}. The
same seed gives the same bytes on the same machine with the same versions of torch and
transformers; on other machines rounding differs, and so do the weights.
"""


def model_card(figures: dict[str, Any], plan: Plan, seed: int) -> str:
    """Return the card in Markdown."""
    head = HEAD.format(
        instruct=figures["parameters"]["demo-instruct"],
        reward=figures["parameters"]["demo-reward"],
        instruct_context=INSTRUCT_CONTEXT,
        reward_context=REWARD_CONTEXT,
        generator_steps=plan.instruct_facts.steps + plan.instruct_manner.steps,
        grader_steps=plan.reward_facts.steps + plan.reward_grading.steps,
        batch=plan.instruct_facts.batch,
    )
    parts = [_held_out(figures["held_out"]), _demo(figures["demo"], figures["demo_two"])]
    return head + "\n".join(parts) + TAIL.format(seed=seed)


def _held_out(figures: dict[str, Any]) -> str:
    by_family = [
        (name, _percent(row["accuracy"]), _decimal(row["auc"]))
        for name, row in figures["families"].items()
    ]
    by_kind = [
        (name, _percent(row["accuracy"]), _decimal(row["auc"]))
        for name, row in figures["kinds"].items()
    ]
    pearson = [(name, _decimal(value)) for name, value in figures["pearson"].items()]
    total = ("all", _percent(figures["accuracy"]), _decimal(figures["auc"]))
    return "\n".join(
        [
            f"One answer to each of {figures['answers']:,} held-out tasks, temperature 1, the",
            "same number of each kind. AUC is the probability that a right answer has a higher",
            "correctness score than a wrong one.",
            "",
            *_table(("family", "right", "AUC"), [*by_family, total]),
            "",
            *_table(("kind", "right", "AUC"), by_kind),
            "",
            "Pearson correlation of the scores with the computed labels, same answers:",
            "",
            *_table(("attribute", "Pearson"), pearson),
            "",
        ]
    )


KEPT = """\
The default filter (best of four answers, helpfulness at least 3.0) on the prompts of
`data/tasks/demo.jsonl`, all of them held out. Kept: accepted records for each prompt.

{table}

That is one record for {of_answers} of all answers (25.0 % is the most with four). With two
answers to a prompt: right of all {two_all}, right of accepted {two_accepted}, kept {two_kept} of
prompts and {two_of_answers} of answers.
"""


def _demo(four: dict[str, Any], two: dict[str, Any]) -> str:
    columns = ("accuracy_all", "accuracy_accepted", "kept")
    rows = [
        (name, *(_percent(row[column]) for column in columns))
        for name, row in [*four["by_family"].items(), ("all", four)]
    ]
    head = ("family", "right of all", "right of accepted", "kept")
    return KEPT.format(
        table="\n".join(_table(head, rows)),
        of_answers=_percent(four["kept_of_answers"]),
        two_all=_percent(two["accuracy_all"]),
        two_accepted=_percent(two["accuracy_accepted"]),
        two_kept=_percent(two["kept"]),
        two_of_answers=_percent(two["kept_of_answers"]),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
