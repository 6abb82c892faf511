"""``python -m promptmill.store``: one store worker process."""

from __future__ import annotations

import sys

from promptmill.core.lifecycle import run_main
from promptmill.store.service import serve
from promptmill.store.settings import EXAMPLES, StoreSettings

if __name__ == "__main__":
    sys.exit(run_main(StoreSettings, EXAMPLES, serve))
