//! A task's part of one batch: reads its shards, decides where that ends, and claims the end.

mod attempt;
mod end_rule;
mod reader;
#[cfg(test)]
mod tests;

pub(super) use attempt::Attempt;
