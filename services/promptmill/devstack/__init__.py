"""Apache Kafka and Redis as ordinary processes on loopback.

``stack`` starts, finds and stops all servers of one home. ``servers`` has the servers of one state,
and ``state`` keeps their ports. ``kafka`` (with ``broker``, ``java`` and ``jars``) and ``redis``
are the servers. ``daemon`` is a process that outlives the command that started it, ``ports`` finds
free ports of loopback, and ``checks`` reports what is missing on this machine.
"""
