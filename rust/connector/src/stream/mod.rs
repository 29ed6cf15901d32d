//! The model of a stream.
