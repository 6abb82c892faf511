"""Ports to shared state: decisions (de-duplication) and backpressure."""
