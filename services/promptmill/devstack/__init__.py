"""Apache Kafka and Redis as ordinary processes on loopback.

``stack`` starts, finds and stops both; ``kafka`` and ``redis`` are the servers; ``daemon`` is any
process that outlives the command that started it; ``jars`` and ``java`` are what Kafka runs on;
``topics`` creates topics; ``checks`` says what is missing on this machine.
"""
