package io.sparkkinesis.bridge

import java.io.IOException
import java.util.concurrent.{Callable, CountDownLatch, Executors}

import org.scalatest.funsuite.AnyFunSuite

/** The guarantees of checkpoint files on every file system. */
trait CheckpointFilesBehavior { this: AnyFunSuite =>

  protected def files: HadoopCheckpointFiles

  /** Creates a folder for the duration of a test. */
  protected def withFolder(body: String => Unit): Unit

  /** The names of all entries of a folder, including hidden ones. */
  protected def everything(folder: String): Set[String]

  /** Leaves a file in the state of a process that died while writing it. */
  protected def leave(path: String, content: Array[Byte]): Unit

  protected def bytes(text: String): Array[Byte] = text.getBytes("UTF-8")
  protected def text(bytes: Array[Byte]): String = if (bytes == null) null else new String(bytes, "UTF-8")

  /** Sixteen threads put the same path; exactly one wins. Repeated ten times. */
  protected def assertOneWinner(path: String)(put: (String, Array[Byte]) => Boolean): Unit = {
    val pool = Executors.newFixedThreadPool(16)
    try {
      for (round <- 1 to 10) {
        val name = s"round $round"
        val start = new CountDownLatch(1)
        val attempts = (1 to 16).map { n =>
          pool.submit(new Callable[Option[Int]] {
            override def call(): Option[Int] = {
              start.await()
              val won = put(name, bytes(s"attempt $n"))
              // A loser finds the whole file immediately.
              assert(text(files.read(s"$path/$name")).matches("attempt \\d+"))
              if (won) Some(n) else None
            }
          })
        }
        start.countDown()
        val winners = attempts.flatMap(_.get())
        assert(winners.size === 1)
        assert(text(files.read(s"$path/$name")) === s"attempt ${winners.head}")
      }
    } finally pool.shutdownNow()
    assert(files.list(path).length === 10)
  }

  protected def checkpointFiles(): Unit = {

    test("a file is put once, with its folders") {
      withFolder { path =>
        assert(files.putIfAbsent(s"$path/a/b/claim", bytes("first")))
        assert(!files.putIfAbsent(s"$path/a/b/claim", bytes("second")))
        assert(text(files.read(s"$path/a/b/claim")) === "first")
        assert(everything(s"$path/a/b") === Set("claim"), "no temporary file and no checksum is left")
      }
    }

    test("what is missing reads as nothing, lists as nothing, and can be deleted") {
      withFolder { path =>
        assert(files.read(s"$path/none") === null)
        assert(files.list(s"$path/none").toSeq === Nil)
        files.delete(s"$path/none")
      }
    }

    test("empty and large contents are kept") {
      withFolder { path =>
        assert(files.putIfAbsent(s"$path/empty", Array.empty))
        assert(files.read(s"$path/empty").length === 0)
        val large = Array.tabulate(3000000)(_.toByte)
        assert(files.putIfAbsent(s"$path/large", large))
        assert(files.read(s"$path/large").sameElements(large))
      }
    }

    test("names with spaces and odd characters are ordinary names") {
      withFolder { path =>
        val names =
          Set("with space", "ümläut", "per%20cent", "plus+", "hash#1", "question?", "{brace}[0]", "a=b&c", "日本")
        val folder = s"$path/odd % folder #?"
        names.foreach(name => assert(files.putIfAbsent(s"$folder/$name", bytes(name)), name))
        assert(files.list(folder).toSet === names)
        names.foreach(name => assert(text(files.read(s"$folder/$name")) === name))
        files.delete(s"$folder/hash#1")
        assert(files.list(folder).toSet === names - "hash#1")
      }
    }

    test("of many threads that put one path exactly one wins, and all see its content") {
      withFolder { path =>
        assertOneWinner(path) { (name, content) => files.putIfAbsent(s"$path/$name", content) }
        assert(everything(path).filter(_.endsWith(".tmp")) === Set.empty)
      }
    }

    test("what a crash leaves is never listed, and does not hinder a later put") {
      withFolder { path =>
        leave(s"$path/${HadoopCheckpointFiles.temporaryName("claim")}", bytes("half of it"))
        assert(files.list(path).toSeq === Nil)
        assert(files.read(s"$path/claim") === null)
        assert(files.putIfAbsent(s"$path/claim", bytes("whole")))
        assert(files.list(path).toSeq === Seq("claim"))
        assert(text(files.read(s"$path/claim")) === "whole")
      }
    }

    test("a folder is deleted with all that is in it") {
      withFolder { path =>
        files.putIfAbsent(s"$path/source/1/a", bytes("a"))
        files.putIfAbsent(s"$path/source/2/b", bytes("b"))
        assert(files.list(s"$path/source").toSet === Set("1", "2"))
        files.delete(s"$path/source")
        assert(everything(path) === Set.empty)
      }
    }

    test("a folder that can't be made is an error, not a lost race") {
      withFolder { path =>
        files.putIfAbsent(s"$path/file", bytes("x"))
        intercept[IOException](files.putIfAbsent(s"$path/file/below", bytes("y")))
      }
    }

    test("the list of a large folder is whole") {
      withFolder { path =>
        val names = (1 to 60).map(n => f"shardId-$n%012d")
        names.foreach(name => assert(files.putIfAbsent(s"$path/$name", bytes(name))))
        assert(files.list(path).sorted.toSeq === names.sorted)
        assert(everything(path).size === 60)
      }
    }
  }
}
