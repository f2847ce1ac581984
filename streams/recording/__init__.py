"""Recordings of topics: captured from Kafka, kept in Parquet, played to Kafka again or through the core alone."""
