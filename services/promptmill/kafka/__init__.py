"""Apache Kafka behind the ports of the stream; the only importer of faststream and aiokafka."""
