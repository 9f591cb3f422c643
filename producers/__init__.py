"""Sources of frames and the publisher that takes them to Kafka."""
