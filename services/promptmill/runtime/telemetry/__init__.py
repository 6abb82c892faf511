"""Telemetry: logs as events, one table of metrics, health, and the registry of workers."""
