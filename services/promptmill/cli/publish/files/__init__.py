"""Reading: files of the usual formats, folders, pipes and data sets of a hub become rows."""
