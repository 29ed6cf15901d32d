"""scripts/demo: events, the Spark job that handles them, and the count at the end."""
