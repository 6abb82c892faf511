"""The command line: its commands, and the code that they share."""
