"""Layouts of rows: the columns of common data sets, translated to fields of a plain line."""
