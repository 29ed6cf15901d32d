"""Helpers of the tests through Spark."""
