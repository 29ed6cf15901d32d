"""scripts/demo: events, the Spark job that processes them, and the final count."""
