"""``python -m promptmill.filter``: one filter worker process."""

from __future__ import annotations

import sys

from promptmill.filter.service import serve
from promptmill.filter.settings import EXAMPLES, FilterSettings
from promptmill.worker.lifecycle import run_main

if __name__ == "__main__":
    sys.exit(run_main(FilterSettings, EXAMPLES, serve))
