"""The demo: the whole pipeline on one machine, from the shipped prompts to training records."""
