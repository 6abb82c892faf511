"""``python -m promptmill.store``: one store worker process."""

from __future__ import annotations

import sys

from promptmill.store.service import serve
from promptmill.store.settings import EXAMPLES, StoreSettings
from promptmill.worker.lifecycle import run_main

if __name__ == "__main__":
    sys.exit(run_main(StoreSettings, EXAMPLES, serve))
