"""Answers prompts: prompt in, completion out."""
