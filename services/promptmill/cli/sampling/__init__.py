"""Samples of records, pairs and rejects, which are shown one after the other."""
