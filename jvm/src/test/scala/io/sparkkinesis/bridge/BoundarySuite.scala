package io.sparkkinesis.bridge

import java.nio.file.Paths
import java.util.concurrent.{CountDownLatch, TimeUnit}
import java.util.concurrent.atomic.AtomicReference

import io.sparkkinesis.KinesisConnectorException
import org.scalatest.BeforeAndAfterAll
import org.scalatest.funsuite.AnyFunSuite

/**
 * A test of the bridge with the native library. It needs a library with the tests' own exports:
 * {{{
 * cargo build -p spark-kinesis-jni --features boundary-tests --lib --examples
 * }}}
 * and the path of its libsparkkinesis.so in the system property `io.sparkkinesis.library`. The same folder has
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
            "--features boundary-tests --lib --examples; and pass -Dio.sparkkinesis.library=<libsparkkinesis.so>",
          e)
    }
  }

  /** Runs `body`, and returns the connector's exception that it throws. */
  protected def failure(body: => Any): KinesisConnectorException = intercept[KinesisConnectorException](body)

  /** A configuration that opens a stand-in in the native library. */
  protected def config(fields: String*): String = s"""{"version":1,"boundaryTest":{${fields.mkString(",")}}}"""

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
    assert(library != null, s"-D${NativeLibrary.OVERRIDE}=<libsparkkinesis.so> is missing")
    Paths.get(library).resolveSibling(name)
  }
}
