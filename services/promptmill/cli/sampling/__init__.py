"""A sample of records, pairs and rejects, shown one after the other."""
