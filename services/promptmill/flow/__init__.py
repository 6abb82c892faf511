"""Backpressure: water marks on topics, the lags they are compared with, who is held and why."""
