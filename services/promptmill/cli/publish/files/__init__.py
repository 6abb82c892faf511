"""Reading rows from files of the common formats, folders, pipes and data sets on a hub."""
