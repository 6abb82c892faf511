"""De-duplication: for every prompt one decision, for every content one owner, in Redis."""
