package io.sparkkinesis.bridge

import java.util.UUID

import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.{FileSystem, Path}
import org.apache.hadoop.hdfs.DistributedFileSystem
import org.scalatest.funsuite.AnyFunSuite

/** The file operations of a checkpoint on a real HDFS, which `scripts/test` starts. */
class HdfsCheckpointFilesSuite extends AnyFunSuite with CheckpointFilesBehavior {
  private val endpoint = Option(System.getProperty("io.sparkkinesis.hdfs")).getOrElse(
    throw new IllegalStateException("no HDFS is given: run scripts/test jvm, which starts one"))

  private val conf = {
    val conf = new Configuration()
    // The cluster has one data node, so none can replace it when a write fails.
    conf.set("dfs.client.block.write.replace-datanode-on-failure.policy", "NEVER")
    conf.setInt("dfs.replication", 1)
    // Delay before a close checks again whether the data node has reported the block to the name node.
    conf.setInt("dfs.client.block.write.locateFollowingBlock.initial.delay.ms", 10)
    conf
  }
  private val fs: FileSystem = new Path(endpoint).getFileSystem(conf)

  override protected val files = new HadoopCheckpointFiles(conf)

  /** The folder is kept after the test, with the files that are still open. */
  override protected def withFolder(body: String => Unit): Unit = {
    val folder = s"$endpoint/checkpoint files/${UUID.randomUUID()}"
    assert(fs.mkdirs(new Path(folder)))
    body(folder)
  }

  override protected def everything(folder: String): Set[String] =
    fs.listStatus(new Path(folder)).map(_.getPath.getName).toSet

  /** The file stays open, and its writer keeps the lease. */
  override protected def leave(path: String, content: Array[Byte]): Unit = {
    val out = fs.create(new Path(path))
    out.write(content)
    out.hflush()
  }

  testsFor(checkpointFiles())

  test("it is an HDFS") {
    assert(fs.isInstanceOf[DistributedFileSystem])
  }
}
