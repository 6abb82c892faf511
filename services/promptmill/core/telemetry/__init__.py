"""Logs as events, one table of metrics, health."""
