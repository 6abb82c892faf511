"""What was at work when a worker died: the port, a fake, and Redis."""
