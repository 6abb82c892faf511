"""Exports of records in the formats of trainers; see :mod:`promptmill.export.formats`."""
