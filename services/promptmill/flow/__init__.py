"""Backpressure: the lags of topics, their water marks, and the workers that are held."""
