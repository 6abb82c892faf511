"""In-memory broker, deduplication and store, for the tests of this project and of its users."""
