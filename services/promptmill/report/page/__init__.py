"""One HTML page with all figures, which needs nothing beside itself."""
