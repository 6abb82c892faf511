"""Layouts of rows: what the columns of the usual data sets mean, as fields of a plain line."""
