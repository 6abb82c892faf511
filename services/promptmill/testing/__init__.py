"""The broker, the claims and the store in memory, for tests of this project and of its users."""
