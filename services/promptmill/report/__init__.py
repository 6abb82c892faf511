"""What is in the tables: counts, scores, acceptance over time, duplicates, lengths and cost."""
