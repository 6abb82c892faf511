"""De-duplication in Redis: one decision for every prompt, and one owner for every content."""
