"""The parts that all worker processes share: lifecycle, wiring and layout."""
