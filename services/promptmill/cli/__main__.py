"""``python -m promptmill.cli``: the command line without the ``promptmill`` script."""

from __future__ import annotations

from promptmill.cli.main import main

if __name__ == "__main__":
    main()
