"""A self-contained HTML page with all figures."""
