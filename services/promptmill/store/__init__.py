"""The store: decisions become rows of Delta tables, each exactly once.

Fault points of a commit (:mod:`promptmill.runtime.fault_points`), each for every table, for example
``store.written.records``:

====================  =======================================================================
``store.claimed.*``   the shards are ours in this table; not yet in those after it
``store.checked.*``   ours, and where we believe; nothing is written
``store.written.*``   the library has drawn all rows; the log has no entry
``store.committed.*`` the log has its entry; Kafka and the other tables do not know
====================  =======================================================================
"""
