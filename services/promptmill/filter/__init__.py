"""Decides: scored completion in, training records or one reject out."""
