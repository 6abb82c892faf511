"""Grades answers: completion in, scored completion out."""
