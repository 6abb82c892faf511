"""Consume, work, produce: records finish out of order, offsets are committed in order."""
