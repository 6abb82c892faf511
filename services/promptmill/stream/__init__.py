"""The stream loop: records finish out of order, and their offsets are committed in order."""
