"""What every process stands on: errors, settings, deadlines, telemetry."""
