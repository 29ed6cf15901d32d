//! Files in the checkpoint location: claims on a file system, and the files that a query keeps beside them.

use async_trait::async_trait;

use crate::error::Result;

/// The few file operations that a store needs. The JVM side implements them on Hadoop's FileSystem, tests on the
/// local disk. Paths are Hadoop paths (`hdfs://…`, `file:/…`).
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// Creates the file with this content, entirely or not at all; false if the path exists already.
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool>;

    /// The file's content, or none if it does not exist.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// The names in a folder, without the remains of an interrupted `put_if_absent`; empty if the folder does not
    /// exist.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Removes a file, or a folder with its content; succeeds if the path does not exist.
    async fn delete(&self, path: &str) -> Result<()>;
}
