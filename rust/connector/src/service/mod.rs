//! The one door to Kinesis.
