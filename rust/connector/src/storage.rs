//! The checkpoint location, as the engine reaches it: claims on a file system, and the files that a query keeps beside
//! them.

use async_trait::async_trait;

use crate::error::Result;

/// The few file operations a store needs. The JVM side implements them over Hadoop's FileSystem; tests over
/// the local disk. Paths are Hadoop paths (`hdfs://…`, `file:/…`).
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// Creates the file with this content, whole or not at all; false if the path exists already.
    async fn put_if_absent(&self, path: &str, content: Vec<u8>) -> Result<bool>;

    /// The file's content, or none if it does not exist.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// The names in a folder, without what an interrupted `put_if_absent` left; empty if there is no folder.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Removes a file or a folder with all that is in it; one that does not exist is fine.
    async fn delete(&self, path: &str) -> Result<()>;
}
