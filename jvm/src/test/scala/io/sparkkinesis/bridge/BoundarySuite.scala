package io.sparkkinesis.bridge

import java.nio.file.Paths
import java.util.concurrent.{CountDownLatch, TimeUnit}
import java.util.concurrent.atomic.AtomicReference

import io.sparkkinesis.KinesisConnectorException
import org.scalatest.BeforeAndAfterAll
import org.scalatest.funsuite.AnyFunSuite

/**
 * A test of the bridge with the native library. It needs the library with the tests' own exports:
 * {{{
 * cargo build -p spark-kinesis-jni -p spark-kinesis-jni-testing --lib --examples
 * }}}
 * and the path of its libsparkkinesis_testing.so in the system property `io.sparkkinesis.library`. The same folder has
 * cargo's `examples/libother_abi.so`.
 */
private[bridge] abstract class BoundarySuite extends AnyFunSuite with BeforeAndAfterAll {

  override protected def beforeAll(): Unit = {
    super.beforeAll()
    NativeLibrary.load()
    try BoundaryTests.fail(0)
    catch {
      case e: UnsatisfiedLinkError =>
        throw new IllegalStateException(
          "this native library has no exports for tests. Build one with: cargo build -p spark-kinesis-jni " +
            "-p spark-kinesis-jni-testing --lib --examples; and pass " +
            s"-D${NativeLibrary.OVERRIDE}=<libsparkkinesis_testing.so>",
          e)
    }
  }

  /** Runs `body`, and returns the connector's exception that it throws. */
  protected def failure(body: => Any): KinesisConnectorException = intercept[KinesisConnectorException](body)

  /** What a stand-in of the native library is to do: the fields in `rust/jni-testing`. */
  protected def config(fields: String*): String = fields.mkString("{", ",", "}")

  /** The bridge's objects, with stand-ins of the native library behind their handles. */
  protected object StandIn {
    def planner(config: String, files: HadoopFileSystem, interrupt: Interrupt): Planner = {
      NativeLibrary.loadAndFollow()
      Planner.of(BoundaryTests.planner(config, files), interrupt)
    }

    def reader(config: String, interrupt: Interrupt): ShardReader = {
      NativeLibrary.loadAndFollow()
      ShardReader.of(BoundaryTests.reader(config, ShardReader.poison()), interrupt)
    }

    def writer(config: String, interrupt: Interrupt): StreamWriter = {
      NativeLibrary.loadAndFollow()
      StreamWriter.of(BoundaryTests.writer(config), interrupt)
    }
  }

  /** A file system without files. */
  protected object NoFiles extends HadoopFileSystem {
    override def putIfAbsent(path: String, content: Array[Byte]): Boolean = false
    override def read(path: String): Array[Byte] = null
    override def list(folder: String): Array[String] = Array.empty
    override def delete(path: String): Unit = ()
  }

  /**
   * Runs an endless `body` on its own thread, and calls `stop` on that thread once it waits. Returns the exception that
   * `body` throws. The time limit only serves to end a hanging test.
   */
  protected def stopped(stop: Thread => Unit)(body: Interrupt => Any): Throwable = {
    val waiting = new CountDownLatch(1)
    val thrown = new AtomicReference[Throwable]
    val interrupt: Interrupt = () => {
      waiting.countDown()
      Interrupt.THREAD.check()
    }
    val thread = new Thread(
      () =>
        try body(interrupt)
        catch { case e: Throwable => thrown.set(e) },
      "boundary-test")
    thread.setDaemon(true)
    thread.start()
    assert(waiting.await(60, TimeUnit.SECONDS), "the operation never waited")
    stop(thread)
    thread.join(TimeUnit.SECONDS.toMillis(60))
    assert(!thread.isAlive, "the operation did not end")
    thrown.get
  }

  protected def libraryPath(name: String): java.nio.file.Path = {
    val library = System.getProperty(NativeLibrary.OVERRIDE)
    assert(library != null, s"-D${NativeLibrary.OVERRIDE}=<libsparkkinesis_testing.so> is missing")
    Paths.get(library).resolveSibling(name)
  }
}
