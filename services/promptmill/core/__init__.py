"""What every service shares: errors, settings, the stream core, gates, engines, sinks."""
