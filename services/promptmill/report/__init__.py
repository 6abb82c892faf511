"""Figures of the tables: counts, scores, acceptance over time, duplicates, lengths and cost."""
