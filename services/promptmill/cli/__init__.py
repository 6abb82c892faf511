"""The command line and what it asks of the stack."""
