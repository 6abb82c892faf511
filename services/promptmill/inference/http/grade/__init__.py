"""Grades over HTTP: classification, reward models, judges."""
