package io.sparkkinesis.bridge

import java.io.IOException
import java.nio.file.{Files, Path}
import java.util.concurrent.{Callable, CountDownLatch, Executors}

import scala.collection.JavaConverters._

import org.apache.hadoop.conf.Configuration
import org.scalatest.funsuite.AnyFunSuite

/** The file operations of a checkpoint, on the local disk. */
class HadoopCheckpointFilesSuite extends AnyFunSuite {
  private val files = new HadoopCheckpointFiles(new Configuration())

  private def bytes(text: String): Array[Byte] = text.getBytes("UTF-8")
  private def text(bytes: Array[Byte]): String = if (bytes == null) null else new String(bytes, "UTF-8")

  private def withFolder[T](body: (Path, String) => T): T = withFolder("checkpoint files")(body)

  private def withFolder[T](name: String)(body: (Path, String) => T): T = {
    val folder = Files.createTempDirectory(name)
    try body(folder, s"file:$folder")
    finally files.delete(s"file:$folder")
  }

  private def everything(folder: Path): Set[String] =
    Option(folder.toFile.list()).map(_.toSet).getOrElse(Set.empty)

  test("a file is put once, with its folders") {
    withFolder { (folder, path) =>
      assert(files.putIfAbsent(s"$path/a/b/claim", bytes("first")))
      assert(!files.putIfAbsent(s"$path/a/b/claim", bytes("second")))
      assert(text(files.read(s"$path/a/b/claim")) === "first")
      assert(everything(folder.resolve("a/b")) === Set("claim"), "no temporary file and no checksum is left")
    }
  }

  test("what is missing reads as nothing, lists as nothing, and can be deleted") {
    withFolder { (_, path) =>
      assert(files.read(s"$path/none") === null)
      assert(files.list(s"$path/none").toSeq === Nil)
      files.delete(s"$path/none")
    }
  }

  test("empty and large contents are kept") {
    withFolder { (_, path) =>
      assert(files.putIfAbsent(s"$path/empty", Array.empty))
      assert(files.read(s"$path/empty").length === 0)
      val large = Array.tabulate(3000000)(_.toByte)
      assert(files.putIfAbsent(s"$path/large", large))
      assert(files.read(s"$path/large").sameElements(large))
    }
  }

  test("names with spaces and odd characters are ordinary names") {
    withFolder { (_, path) =>
      val names = Set("with space", "ümläut", "per%20cent", "plus+", "hash#1", "question?", "{brace}[0]", "a=b&c", "日本")
      val folder = s"$path/odd % folder #?"
      names.foreach(name => assert(files.putIfAbsent(s"$folder/$name", bytes(name)), name))
      assert(files.list(folder).toSet === names)
      names.foreach(name => assert(text(files.read(s"$folder/$name")) === name))
      files.delete(s"$folder/hash#1")
      assert(files.list(folder).toSet === names - "hash#1")
    }
  }

  test("of many threads that put one path exactly one wins, and all see its content") {
    Seq(true, false).foreach { links =>
      withFolder { (folder, path) =>
        val pool = Executors.newFixedThreadPool(16)
        try for (round <- 1 to 10) {
          val start = new CountDownLatch(1)
          val attempts = (1 to 16).map { n =>
            pool.submit(new Callable[Option[Int]] {
              override def call(): Option[Int] = {
                start.await()
                val target = folder.resolve(s"round $round")
                val won =
                  if (links) files.putIfAbsent(s"$path/round $round", bytes(s"attempt $n"))
                  else LocalPut.put(target, bytes(s"attempt $n"), false)
                // Whoever lost finds a whole file at once.
                assert(text(files.read(s"$path/round $round")).matches("attempt \\d+"))
                if (won) Some(n) else None
              }
            })
          }
          start.countDown()
          val winners = attempts.flatMap(_.get())
          assert(winners.size === 1)
          assert(text(files.read(s"$path/round $round")) === s"attempt ${winners.head}")
        } finally pool.shutdownNow()
        assert(files.list(path).length === 10)
        assert(everything(folder).filter(_.endsWith(".tmp")) === Set.empty)
      }
    }
  }

  test("what a crash leaves is never listed, and does not hinder a later put") {
    withFolder { (folder, path) =>
      Files.write(folder.resolve(HadoopCheckpointFiles.temporaryName("claim")), bytes("half of it"))
      Files.write(folder.resolve(".claim.crc"), bytes("crc"))
      Files.write(folder.resolve(LocalPut.LOCK), bytes(""))
      assert(files.list(path).toSeq === Nil)
      assert(files.read(s"$path/claim") === null)
      assert(files.putIfAbsent(s"$path/claim", bytes("whole")))
      assert(files.list(path).toSeq === Seq("claim"))
    }
  }

  test("a folder is deleted with all that is in it") {
    withFolder { (folder, path) =>
      files.putIfAbsent(s"$path/source/1/a", bytes("a"))
      files.putIfAbsent(s"$path/source/2/b", bytes("b"))
      assert(files.list(s"$path/source").toSet === Set("1", "2"))
      files.delete(s"$path/source")
      assert(everything(folder) === Set.empty)
    }
  }

  test("a folder that can't be made is an error, not a lost race") {
    withFolder { (_, path) =>
      files.putIfAbsent(s"$path/file", bytes("x"))
      intercept[IOException](files.putIfAbsent(s"$path/file/below", bytes("y")))
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
      assert(everything(folder.resolve("source")).filter(_.endsWith(".tmp")) === Set.empty)
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

  test("the list of a large folder is whole") {
    withFolder { (folder, path) =>
      val names = (1 to 500).map(n => f"shardId-$n%012d")
      names.foreach(name => Files.write(folder.resolve(name), bytes(name)))
      assert(files.list(path).sorted.toSeq === names.sorted)
      assert(Files.list(folder).iterator.asScala.size === 500)
    }
  }
}

/** The local disk under a scheme that the connector knows nothing of. */
class OtherFileSystem extends org.apache.hadoop.fs.RawLocalFileSystem {
  override def getUri: java.net.URI = java.net.URI.create("other:///")
}
