"""The store: decisions become rows of Delta tables, each exactly once.

Fault points of a commit (:mod:`promptmill.runtime.fault_points`), each for every table, for example
``store.written.records``:

====================  =======================================================================
``store.claimed.*``   the shards are owned in this table, but not yet in the tables after it
``store.checked.*``   owner and position are verified, and nothing is written yet
``store.written.*``   the library has read all rows, and the table's log has no entry yet
``store.committed.*`` the log has the entry; Kafka and the other tables do not know of it yet
====================  =======================================================================
"""
