"""``python -m promptmill_demo.models``: copy the demo's models into a folder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from promptmill.runtime.settings import load_settings
from promptmill_demo.models.demo import make_demo_models


def main() -> int:
    """Copy the models that are missing, and print the two folders."""
    parser = argparse.ArgumentParser(
        prog="python -m promptmill_demo.models",
        description="Copy the demo's two small models into a folder.",
    )
    default = load_settings().home / "models"
    parser.add_argument("folder", type=Path, nargs="?", default=default, help=f"({default})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    models = make_demo_models(options.folder)
    folders = {"instruct": str(models.instruct), "reward": str(models.reward)}
    lines = [json.dumps(folders)] if options.json else [f"{k}: {v}" for k, v in folders.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
