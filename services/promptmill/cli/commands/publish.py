"""``promptmill publish``: send each prompt of a file or a pipe to the topic once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptmill.cli.publish.layouts.choices import LastAnswer, UnknownColumns

HELP = """Publish prompts: the rows of FILE or, with -, of standard input.

FILE holds one JSON object per line, a JSON array, CSV with a header or Parquet, and may be
compressed (.gz, .bz2, .zst). It may also be a folder of these files or, if the package datasets is
installed, a data set on Hugging Face's hub (hf://datasets/OWNER/NAME?config=…&split=…).

A row is {"prompt": "…"}, {"messages": […]}, a request line of OpenAI's batch format, or a row
of a common data set: TRL, UltraChat, Magpie, ShareGPT, Alpaca, GSM8K, HelpSteer, NeMo Gym or
Nemotron post-training data. The layout is recognised from the first rows; --layout selects it
instead, and --map says what other columns mean. The assistant's turn at the end of a conversation
becomes the prompt's reference answer. Rows in promptmill's own layout may also have n, sampling,
adapter, tools, chat_template_kwargs, extra_body, tags, reference, category, licence, id and
prompt_id.
Publishing the same rows again changes nothing.

With --answers, no answers are generated. Instead, the answers in the rows are graded and filtered:
a list named answers, pairs of responses, or the assistant's turn at the end of a conversation.

While the topic of prompts is above its high-water mark, the command waits and shows the reason.
With --no-wait it ends instead, and publishing the same file again later sends the rest.

The exit code is 0 if all prompts were published, 3 if some lines are invalid and the others were
published, and 5 if --no-wait ended the command before all prompts were sent.

Examples:

\b
  promptmill publish prompts.jsonl --run first
  promptmill publish prompts.jsonl --run first --n 4 --temperature 0.7 --max-tokens 256
  promptmill publish prompts.jsonl --run first --tag domain=law --receipts receipts.jsonl
  promptmill publish prompts.jsonl.gz --run first --json
  promptmill publish chats.jsonl --run graded --answers
  promptmill publish rows.parquet --run first --map prompt=question,tags.answer=answer
"""


def publish(
    file: Annotated[
        str,
        typer.Argument(help="File or folder, - for standard input, or hf://datasets/OWNER/NAME."),
    ],
    run: Annotated[str, typer.Option(help="Name under which the prompts are counted.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of answers to each prompt.")] = 1,
    temperature: Annotated[float, typer.Option(help="Sampling temperature, 0 to 2.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling: above 0, up to 1.")] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from the k most likely tokens; by default from all.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens of an answer.")] = 512,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends an answer; can be repeated.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the sampling; the same seed gives the same answers.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="LoRA adapter that answers the prompts.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag of the prompts, key=value; can be repeated.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the rows; by default it is recognised.")
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option("--map", help="Columns by field: prompt=question,tags.answer=answer."),
    ] = None,
    unknown_columns: Annotated[
        UnknownColumns | None,
        typer.Option(
            help="What to do with other columns; by default only data sets may have them."
        ),
    ] = None,
    last_answer: Annotated[
        LastAnswer,
        typer.Option(help="What the assistant's turn at the end of a conversation becomes."),
    ] = LastAnswer.REFERENCE,
    answers: Annotated[
        bool,
        typer.Option(
            "--answers", help="Grade the answers in the rows instead of generating answers."
        ),
    ] = False,
    receipts: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="File for receipts, one JSON object for each input line."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option(help="Wait while the topic is above its high-water mark.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.publish.options import (
        given_sampling,
        given_tags,
        publish_defaults,
        refuse_overwriting,
        require_input,
        row_reader,
    )
    from promptmill.cli.publish.run import publish_file

    require_input(file)
    refuse_overwriting(file, receipts)
    sampling = given_sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        max_tokens=max_tokens,
        stop=stop or [],
        seed=seed,
    )
    defaults = publish_defaults(run, n, sampling, adapter, given_tags(tag or []))
    reader = row_reader(layout, mapping, unknown_columns, last_answer, wants_answers=answers)
    code = publish_file(file, defaults, receipts, as_json=as_json, waits=wait, reader=reader)
    raise typer.Exit(code)
