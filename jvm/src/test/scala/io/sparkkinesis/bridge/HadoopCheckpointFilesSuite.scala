package io.sparkkinesis.bridge

import java.nio.file.{Files, Path, Paths}

import org.apache.hadoop.conf.Configuration
import org.scalatest.funsuite.AnyFunSuite

/** The file operations of a checkpoint on the local disk, and the way of putting a file for each file system. */
class HadoopCheckpointFilesSuite extends AnyFunSuite with CheckpointFilesBehavior {
  override protected val files = new HadoopCheckpointFiles(new Configuration())

  override protected def withFolder(body: String => Unit): Unit = withFolder((_, path) => body(path))

  private def withFolder(body: (Path, String) => Unit): Unit = withFolder("checkpoint files")(body)

  private def withFolder(name: String)(body: (Path, String) => Unit): Unit = {
    val folder = Files.createTempDirectory(name)
    try body(folder, s"file:$folder")
    finally files.delete(s"file:$folder")
  }

  override protected def everything(folder: String): Set[String] =
    Option(local(folder).toFile.list()).map(_.toSet).getOrElse(Set.empty)

  override protected def leave(path: String, content: Array[Byte]): Unit = Files.write(local(path), content)

  private def local(path: String): Path = Paths.get(path.stripPrefix("file:"))

  testsFor(checkpointFiles())

  test("of many threads that put one path exactly one wins, where a disk has no links too") {
    withFolder { (folder, path) =>
      assertOneWinner(path) { (file, content) => LocalPut.put(folder.resolve(file), content, false) }
      assert(everything(path).filter(_.endsWith(".tmp")) === Set.empty)
    }
  }

  test("a lock that a crash left is never listed, and does not hinder a later put") {
    withFolder { (_, path) =>
      leave(s"$path/${LocalPut.LOCK}", bytes(""))
      leave(s"$path/.claim.crc", bytes("crc"))
      assert(files.list(path).toSeq === Nil)
      assert(files.putIfAbsent(s"$path/claim", bytes("whole")))
      assert(files.list(path).toSeq === Seq("claim"))
    }
  }

  test("a file system with an atomic rename gets the file by renaming") {
    // Hadoop's view of the local disk can't rename where the disk's path has a space.
    withFolder("checkpoint-files") { (folder, _) =>
      val conf = new Configuration()
      conf.set("fs.viewfs.mounttable.default.link./data", folder.toUri.toString)
      val viewed = new HadoopCheckpointFiles(conf)
      val path = "viewfs:/data/source/claim"
      assert(viewed.putIfAbsent(path, bytes("first")))
      assert(!viewed.putIfAbsent(path, bytes("second")))
      assert(text(viewed.read(path)) === "first")
      assert(viewed.list("viewfs:/data/source").toSeq === Seq("claim"))
      assert(everything(s"file:$folder/source").filter(_.endsWith(".tmp")) === Set.empty)
    }
  }

  test("any other file system creates the file without overwriting") {
    withFolder { (folder, _) =>
      val conf = new Configuration()
      conf.setClass("fs.other.impl", classOf[OtherFileSystem], classOf[org.apache.hadoop.fs.FileSystem])
      val other = new HadoopCheckpointFiles(conf)
      val path = s"other:$folder/claim"
      assert(other.putIfAbsent(path, bytes("first")))
      assert(!other.putIfAbsent(path, bytes("second")))
      assert(text(other.read(path)) === "first")
      assert(other.list(s"other:$folder").toSeq === Seq("claim"))
    }
  }

  test("calls from a thread of another class loader and user see the maker's") {
    withFolder { (_, path) =>
      @volatile var done = false
      @volatile var after: ClassLoader = null
      val thread = new Thread(() => {
        done = files.putIfAbsent(s"$path/x", bytes("x"))
        after = Thread.currentThread().getContextClassLoader
      })
      val other = new ClassLoader(null) {}
      thread.setContextClassLoader(other)
      thread.start()
      thread.join()
      assert(done)
      assert(after eq other, "the thread's own class loader is put back")
    }
  }

}

/** The local disk under a scheme that is unknown to the connector. */
class OtherFileSystem extends org.apache.hadoop.fs.RawLocalFileSystem {
  override def getUri: java.net.URI = java.net.URI.create("other:///")
}
