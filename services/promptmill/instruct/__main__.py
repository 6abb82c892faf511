"""``python -m promptmill.instruct``: one instruct worker process."""

from __future__ import annotations

import sys

from promptmill.instruct.service import serve
from promptmill.instruct.settings import EXAMPLES, InstructSettings
from promptmill.worker.lifecycle import run_main

if __name__ == "__main__":
    sys.exit(run_main(InstructSettings, EXAMPLES, serve))
