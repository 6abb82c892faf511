"""Apache Kafka behind the ports: the only importer of faststream and aiokafka."""
