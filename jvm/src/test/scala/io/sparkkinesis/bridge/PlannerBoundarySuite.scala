package io.sparkkinesis.bridge

import java.io.IOException
import java.lang.ref.WeakReference
import java.nio.file.Files
import java.util.concurrent.{ConcurrentLinkedQueue, Semaphore}

import io.sparkkinesis.KinesisConnectorException
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.security.AccessControlException
import org.scalatest.concurrent.Eventually
import org.scalatest.time.{Millis, Seconds, Span}

/** The planner, and its up-calls into Java. */
class PlannerBoundarySuite extends BoundarySuite with Eventually {

  implicit override val patienceConfig: PatienceConfig =
    PatienceConfig(timeout = Span(30, Seconds), interval = Span(2, Millis))

  private def withPlanner[T](files: HadoopFileSystem, fields: String*)(body: Planner => T): T = {
    val planner = StandIn.planner(config(fields: _*), files, null)
    try body(planner)
    finally planner.close()
  }

  /** A file system whose operations all throw `error`. */
  private def failing(error: => Throwable): HadoopFileSystem = new HadoopFileSystem {
    override def putIfAbsent(path: String, content: Array[Byte]): Boolean = throw error
    override def read(path: String): Array[Byte] = throw error
    override def list(folder: String): Array[String] = throw error
    override def delete(path: String): Unit = throw error
  }

  test("offsets, tasks, reports and metrics cross") {
    withPlanner(NoFiles) { planner =>
      assert(planner.latestOffset("größe") === "größe+1")
      assert(planner.latestOffset("none") === null)
      assert(planner.partitions("3").toSeq === Seq("task 0", "task 1", "task 2"))
      assert(planner.partitions("0").toSeq === Nil)
      assert(planner.partitions("20000").length === 20000)
      planner.report("{}")
      planner.prepareForAvailableNow()
      planner.stop()
      assert(planner.release())
      assert(planner.metrics() === """{"one":"1"}""")
    }
  }

  test("native code reaches Hadoop's file system") {
    val folder = Files.createTempDirectory("planner boundary ü")
    val files = new HadoopCheckpointFiles(new Configuration(false))
    withPlanner(files, s""""folder":"file:$folder/a b"""") { planner =>
      val expected =
        """{"again":false,"content":"content","first":true,"missing":true,"names":["offset"]}"""
      assert(planner.initialOffset() === expected)
      planner.commit(s"file:$folder/a b")
      assert(!Files.exists(folder.resolve("a b")))
    }
  }

  test("an exception of an up-call is an error, with the exception as its cause") {
    val disk = new IOException("disk füll", new IllegalStateException("sector 7"))
    withPlanner(failing(disk), """"folder":"file:/x"""") { planner =>
      val error = failure(planner.initialOffset())
      assert(error.kind() === KinesisConnectorException.STORE)
      assert(error.retryable())
      assert(error.getCause eq disk)
      assert(error.getMessage.contains("storing file:/x/offset: java.io.IOException: disk füll"))
      assert(error.getMessage.contains("sector 7"))
      assert(error.context().isEmpty)
    }
  }

  test("what does not mend itself is not retryable") {
    withPlanner(failing(new AccessControlException("no"))) { planner =>
      assert(!failure(planner.commit("file:/x")).retryable())
    }
    withPlanner(failing(new NullPointerException("a defect"))) { planner =>
      val error = failure(planner.commit("file:/x"))
      assert(error.getCause.isInstanceOf[NullPointerException])
      assert(!error.retryable())
    }
    withPlanner(failing(new StackOverflowError("deep"))) { planner =>
      assert(failure(planner.commit("file:/x")).getCause.isInstanceOf[StackOverflowError])
    }
  }

  test("the exceptions of failures that nobody takes are freed") {
    val thrown = new ConcurrentLinkedQueue[WeakReference[Throwable]]
    val unwaited = new Semaphore(0)
    val files = failing {
      unwaited.acquire()
      val error = new IOException("nobody asks")
      thrown.add(new WeakReference(error))
      error
    }
    (1 to 200).foreach { round =>
      val handle = BoundaryTests.planner(config(), files)
      try {
        while (NativeBridge.plannerAwaitOpen(handle, 100) == NativeBridge.AGAIN) {}
        assert(NativeBridge.plannerCommit(handle, "file:/x", 0) === NativeBridge.AGAIN)
        unwaited.release()
        eventually(assert(thrown.size === round))
      } finally NativeBridge.plannerClose(handle)
    }
    eventually {
      System.gc()
      thrown.removeIf(_.get == null)
      assert(thrown.isEmpty)
    }
  }

  test("many up-calls with many names leak no references") {
    val names = Array.tabulate(3000)(n => s"name $n")
    val many = new HadoopFileSystem {
      override def putIfAbsent(path: String, content: Array[Byte]): Boolean = true
      override def read(path: String): Array[Byte] = if (path.endsWith("missing")) null else new Array[Byte](100000)
      override def list(folder: String): Array[String] = names
      override def delete(path: String): Unit = ()
    }
    withPlanner(many, """"folder":"file:/x"""") { planner =>
      (1 to 30).foreach(_ => assert(planner.initialOffset().contains("name 2999")))
    }
  }

  test("up-calls come on daemon threads, for which the JVM's end does not wait") {
    @volatile var thread: Thread = null
    val remembering = new HadoopFileSystem {
      override def putIfAbsent(path: String, content: Array[Byte]): Boolean = true
      override def read(path: String): Array[Byte] = null
      override def list(folder: String): Array[String] = Array.empty
      override def delete(path: String): Unit = thread = Thread.currentThread()
    }
    withPlanner(remembering)(_.commit("file:/x"))
    assert(thread.isDaemon)
    assert(thread.getName.startsWith("kinesis-"))
  }

  test("an interrupt ends a wait, and the planner goes on") {
    @volatile var planner: Planner = null
    val thrown = stopped(_.interrupt()) { interrupt =>
      planner = StandIn.planner(config(), NoFiles, interrupt)
      planner.latestOffset("block")
    }
    assert(thrown.isInstanceOf[InterruptedException])
    try assert(planner.latestOffset("1") === "1+1", "the answer of the new call, not of the old one")
    finally planner.close()
  }

  test("an interrupt leaves while an up-call hangs") {
    val release = new java.util.concurrent.CountDownLatch(1)
    val hanging = new HadoopFileSystem {
      override def putIfAbsent(path: String, content: Array[Byte]): Boolean = true
      override def read(path: String): Array[Byte] = null
      override def list(folder: String): Array[String] = Array.empty
      override def delete(path: String): Unit = release.await()
    }
    @volatile var planner: Planner = null
    try {
      val thrown = stopped(_.interrupt()) { interrupt =>
        planner = StandIn.planner(config(), hanging, interrupt)
        planner.commit("file:/x")
      }
      assert(thrown.isInstanceOf[InterruptedException])
    } finally {
      release.countDown()
      planner.close()
    }
  }

  test("an operation beside a running one is refused") {
    val handle = BoundaryTests.planner(config(), NoFiles)
    try {
      while (NativeBridge.plannerAwaitOpen(handle, 100) == NativeBridge.AGAIN) {}
      assert(NativeBridge.plannerLatestOffset(handle, "block", 1, new Array[String](1)) === NativeBridge.AGAIN)
      val error = failure(NativeBridge.plannerCommit(handle, "x", 1))
      assert(error.kind() === KinesisConnectorException.INVALID_ARGUMENT)
      assert(error.getMessage.contains("latestOffset is still running"))
    } finally NativeBridge.plannerClose(handle)
  }
}
