"""``python -m promptmill_demo.training``: train and measure the models, and write them."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from promptmill_demo.models.demo import SHIPPED
from promptmill_demo.tasks.examples import FILES
from promptmill_demo.training.stages import FULL, QUICK, Plan, Stages, run_stage

DATA = SHIPPED.parent / "data"
FIGURES = "figures.json"
CARD = "MODEL_CARD.md"


def main() -> int:
    """Train both models, and return the exit code 0."""
    parser = argparse.ArgumentParser(
        prog="scripts/train_demo_models",
        description="Train the demo's two models on the CPU: half an hour on two cores.",
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help=f"({SHIPPED})")
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for the weights of each step; a second run continues from there",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (0)")
    parser.add_argument(
        "--quick", action="store_true", help="train for a minute only, to check that it works"
    )
    parser.add_argument(
        "--data-only", action="store_true", help="train nothing; only rewrite the files under data/"
    )
    options = parser.parse_args()
    write_data()
    if options.data_only:
        return 0
    plan = QUICK if options.quick else FULL
    work = options.work or options.out / "work"
    _train(work, plan, options.seed)
    _ship(Stages(work, plan, options.seed), plan, options.out, options.seed)
    return 0


def write_data() -> None:
    """Write the files that are generated from tasks."""
    for name, lines in FILES.items():
        path = DATA / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines()), "utf-8")


def _train(work: Path, plan: Plan, seed: int) -> None:
    """Train the generator and the first part of the grader in parallel, then the rest."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(run_stage, work, plan, seed, name) for name in ("generator", "facts")]
        for job in jobs:
            job.result()
    run_stage(work, plan, seed, "grader")


def _ship(stages: Stages, plan: Plan, out: Path, seed: int) -> None:
    from promptmill_demo.training.card import model_card
    from promptmill_demo.training.measure import measure
    from promptmill_demo.training.shipping import write_models

    write_models(stages, out)
    sys.stderr.write("measuring\n")
    figures = measure(out, seed + 5)
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (out / CARD).write_text(model_card(figures, plan, seed), "utf-8")
    demo = figures["demo"]
    sys.stdout.write(
        f"share of correct answers: {demo['accuracy_all']:.3f} of all, "
        f"{demo['accuracy_accepted']:.3f} of the accepted; "
        f"{demo['kept']:.3f} of the prompts gave a record\n"
        f"the models and their card are in {out}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
