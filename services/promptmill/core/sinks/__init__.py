"""Ports to the training store."""
