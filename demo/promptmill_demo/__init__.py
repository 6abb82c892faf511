"""The demo: the whole pipeline on one machine, from shipped prompts to training records."""
