"""Apache Kafka and Redis as ordinary processes on loopback.

``stack`` starts, finds and stops all servers of one home; ``servers`` are those of one state, and
``state`` is what is remembered about them. ``kafka`` (with ``broker``, ``java`` and ``jars``) and
``redis`` are the servers. ``daemon`` is any process that outlives the command that started it,
``ports`` are ports of loopback, and ``checks`` says what is missing on this machine.
"""
