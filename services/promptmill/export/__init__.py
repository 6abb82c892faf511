"""Exports of records as the files that trainers read; :mod:`promptmill.export.formats` has them."""
