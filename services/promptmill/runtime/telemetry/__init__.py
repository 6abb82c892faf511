"""Logs as events, one table of metrics, health, the registry of workers."""
