"""``python -m promptmill_demo``: the program behind ``scripts/demo``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson

from promptmill.cli.main import exit_code
from promptmill.cli.output import quiet_logs
from promptmill.cli.publish.lines import Defaults
from promptmill.cli.settings import load
from promptmill.runtime.errors import PromptmillError
from promptmill_demo.report import Outcome
from promptmill_demo.run import RUN, DemoSettings, show
from promptmill_demo.screen import Screen, next_steps, summary
from promptmill_schemas import Sampling

INTERRUPTED = 130
CLONE = Path(__file__).resolve().parents[2]
TASKS = "tasks/demo.jsonl"
PROMPTS = "prompts.jsonl"


def main() -> int:
    """Run the demo, and return the exit code."""
    arguments = _parse()
    quiet_logs()
    screen = Screen()
    try:
        demo = _settings(arguments, screen)
        outcome = asyncio.run(_interruptible(demo, screen))
    except asyncio.CancelledError:
        screen.say("interrupted; everything that the demo started has been stopped")
        return INTERRUPTED
    except PromptmillError as error:
        screen.say(f"the demo failed: {error}")
        return exit_code(error)
    store = demo.settings.store_uri
    sys.stdout.write(summary(outcome, store, trained=demo.trained) + "\n")
    sys.stdout.write(next_steps(demo.settings.home, *_models(demo)) + "\n")
    if arguments.json:
        sys.stdout.write(orjson.dumps(_as_json(outcome, store)).decode() + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Turn the shipped prompts into graded training records, on this machine.",
        epilog="examples:\n  scripts/demo\n  scripts/demo --json\n"
        "  PROMPTMILL_HOME=/tmp/mill scripts/demo --candidates 8\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--prompts", type=Path, help="file of prompts in JSON lines; the shipped ones by default"
    )
    parser.add_argument(
        "--candidates", type=int, default=2, help="number of answers to each prompt"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=64, help="maximum number of tokens of each answer"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON document as the last line"
    )
    return parser.parse_args()


def _settings(arguments: argparse.Namespace, screen: Screen) -> DemoSettings:
    """Use the trained models and the tasks if the clone has them, else untrained models."""
    from promptmill_demo.models import make_demo_models
    from promptmill_demo.models.untrained import make_untrained_models

    settings = load()
    screen.say(f"the home folder is {settings.home}")
    trained = (CLONE / "models" / "demo-instruct" / "config.json").is_file()
    kind = "trained on tasks whose answers a program can check" if trained else "untrained"
    screen.say(f"the demo uses small models, {kind}")
    models = (make_demo_models if trained else make_untrained_models)(settings.home / "models")
    sampling = Sampling(max_tokens=arguments.max_tokens)
    return DemoSettings(
        settings=settings,
        prompts=arguments.prompts or CLONE / "data" / (TASKS if trained else PROMPTS),
        instruct=models.instruct,
        reward=models.reward,
        defaults=Defaults(run=RUN, n=arguments.candidates, sampling=sampling),
        trained=trained,
    )


async def _interruptible(demo: DemoSettings, screen: Screen) -> Outcome:
    """Run the demo; Ctrl-C and SIGTERM cancel it, so that it stops everything it started."""
    task = asyncio.ensure_future(show(demo, screen))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _models(demo: DemoSettings) -> tuple[Path, Path]:
    """Return the folders of the models for example commands: the clone's models, if it has any."""
    if demo.trained:
        return Path("models/demo-instruct"), Path("models/demo-reward")
    return demo.instruct, demo.reward


def _as_json(outcome: Outcome, store: str) -> dict[str, object]:
    report = outcome.report
    return {
        **outcome.accuracy,
        "run": report.run,
        "settled": report.settled,
        "accepted": report.accepted,
        "rejected": report.rejected,
        "dead": report.dead,
        "reasons": dict(report.reasons),
        "tokens": report.tokens,
        "seconds": outcome.seconds,
        "first_record_s": outcome.first_record_s,
        "store": store,
    }


if __name__ == "__main__":
    os.environ.setdefault(
        "PROMPTMILL_HOME", str(Path(__file__).resolve().parents[2] / ".promptmill")
    )
    sys.exit(main())
