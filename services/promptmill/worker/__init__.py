"""What every worker process has in common: its life, its wiring, its layout."""
