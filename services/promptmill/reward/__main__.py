"""``python -m promptmill.reward``: one reward worker process."""

from __future__ import annotations

import sys

from promptmill.reward.service import serve
from promptmill.reward.settings import EXAMPLES, RewardSettings
from promptmill.worker.lifecycle import run_main

if __name__ == "__main__":
    sys.exit(run_main(RewardSettings, EXAMPLES, serve))
