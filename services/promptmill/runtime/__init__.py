"""The foundations of every process: errors, settings, deadlines and telemetry."""
