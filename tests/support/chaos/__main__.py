"""``scripts/chaos``: a long run under faults, or the check that the suite notices known bugs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

import orjson
import structlog

from support.chaos.campaign import Campaign, Plan
from support.chaos.mutation import Verdict, read_mutants, verdicts
from support.chaos.pressure import PressurePlan, PressureRun, report
from support.chaos.report import figures, write

EXAMPLES = """examples:
  scripts/chaos --records 10000 --kills 20 --minutes 15
  scripts/chaos --records 1000000 --kills 1000 --seed 7     again to go on where it stopped
  scripts/chaos --pressure --records 100000 --rate 200      a slow store and a waiting publisher
  scripts/chaos --mutants                                   all known bugs
  scripts/chaos --mutants --rows map pause                  those named so, in the matrix too
"""


def main() -> int:
    """Exit code: 0 when nothing was lost or doubled, or every bug was noticed."""
    options = _options()
    if options.mutants:
        return _mutants(options.names, rows=options.rows)
    if options.pressure:
        return _pressure(options)
    return _campaign(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=20_000, help="prompts at least")
    parser.add_argument("--kills", type=int, default=40, help="worker processes killed at least")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all that is drawn")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop then; go on later")
    parser.add_argument("--pause", type=float, default=3.0, help="mean seconds between faults")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--home", type=Path, help="data; .promptmill/chaos-SEED if not given")
    parser.add_argument("--report", type=Path, default=Path("docs/reliability"), help="folder")
    parser.add_argument("--pressure", action="store_true", help="publish against a slow store")
    parser.add_argument("--rate", type=float, default=200.0, help="rows a second of that store")
    parser.add_argument("--freeze", type=float, default=300.0, help="seconds it is frozen")
    parser.add_argument("--redis-down", type=float, default=60.0, help="seconds without Redis")
    parser.add_argument("--high", type=int, default=10_000, help="high-water mark in records")
    parser.add_argument("--mutants", action="store_true", help="put known bugs back one by one")
    parser.add_argument("--rows", action="store_true", help="rows of the matrix must notice too")
    parser.add_argument("names", nargs="*", help="parts of mutants' names")
    return parser.parse_args()


def _campaign(options: argparse.Namespace) -> int:
    home = options.home or Path(f".promptmill/chaos-{options.seed}")
    plan = Plan(
        records=options.records,
        kills=options.kills,
        seed=options.seed,
        minutes=options.minutes,
        pause_s=options.pause,
        brokers=options.brokers,
        home=home.resolve(),
    )
    plan.home.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=plan.home / "chaos.log", level=logging.WARNING)
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    say(f"seed {plan.seed}, data in {plan.home}")
    journal, audit = asyncio.run(Campaign(plan, say).run())
    say(str(audit))
    say(f"report: {write(options.report, figures(journal, audit))}")
    return 0 if audit.is_clean else 1


def _pressure(options: argparse.Namespace) -> int:
    home = (options.home or Path(".promptmill/pressure")).resolve()
    home.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=home / "pressure.log", level=logging.WARNING)
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    plan = PressurePlan(
        options.records, options.rate, options.freeze, options.redis_down, options.high, home
    )
    run = PressureRun(plan, say)
    audit = asyncio.run(run.run())
    say(str(audit))
    found = report(plan, run, audit)
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    options.report.mkdir(parents=True, exist_ok=True)
    (options.report / "pressure.json").write_bytes(text + b"\n")
    say(text.decode())
    return 0 if audit.is_clean and not found["beyond_mark_and_in_flight"] else 1


def _mutants(names: list[str], *, rows: bool) -> int:
    chosen = [m for m in read_mutants() if not names or any(name in m.name for name in names)]
    survivors = 0
    for verdict in verdicts(chosen, rows=rows):
        survivors += not verdict.is_caught
        say(_line(verdict))
    say(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors or not chosen else 0


def _line(verdict: Verdict) -> str:
    if verdict.is_caught:
        return f"caught    {verdict.mutant.name}: {', '.join(verdict.caught_by)}"
    return f"SURVIVED  {verdict.mutant.name}: {verdict.problem or ', '.join(verdict.missed)}"


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
