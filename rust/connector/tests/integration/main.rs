//! The engine against the sandbox and against scripted services, with one module for each part of its behaviour. All
//! are one program, because every further one would link the AWS SDK anew.

// Helpers fail as tests do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod access;
mod apart;
mod batch_reading;
mod clock;
mod coming_over;
mod consumers;
mod empty_stretch;
mod fan_out;
mod fan_out_cluster;
mod fan_out_tls;
mod groups;
mod hostile;
mod many_shards;
mod network;
mod odd_answers;
mod odd_listings;
mod outages;
mod permissions;
mod planning;
mod prefetch;
mod quiet_shards;
mod reading;
mod retention;
mod round_trip;
mod sink;
mod sink_aggregation;
mod sink_order;
mod sink_stream;
mod sink_streams;
mod store_suite;
mod stores;
mod support;
mod waits;
