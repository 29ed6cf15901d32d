//! The stores of claims. `rust/connector/tests/integration/store_suite` tests each of them.

mod calls;
pub(super) mod clients;
pub mod dynamodb;
mod failure;
pub mod hadoop;
pub mod memory;
pub mod s3;
