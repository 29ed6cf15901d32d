//! A task's part of one batch: what is read of its shards, where that ends, and the claim that fixes the end.

mod attempt;
mod end_rule;
mod reader;
#[cfg(test)]
mod tests;

pub(super) use attempt::Attempt;
