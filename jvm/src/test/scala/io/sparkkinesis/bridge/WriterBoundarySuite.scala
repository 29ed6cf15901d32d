package io.sparkkinesis.bridge

import java.nio.{ByteBuffer, ByteOrder}

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.unsafe.types.UTF8String

/** Rows on their way to the native writer. */
class WriterBoundarySuite extends BoundarySuite {

  private def text(value: String): UTF8String = UTF8String.fromString(value)

  private def withWriter[T](fields: String*)(body: StreamWriter => T): T = {
    val writer = StandIn.writer(config(fields: _*), null)
    try body(writer)
    finally writer.close()
  }

  /** Passes a buffer to native code as StreamWriter does. */
  private def rawWrite(buffer: ByteBuffer, length: Int, rows: Int): Int = {
    val handle = BoundaryTests.writer(config())
    try {
      var status = NativeBridge.AGAIN
      while (status == NativeBridge.AGAIN) status = NativeBridge.writerWrite(handle, buffer, length, rows, 100)
      status
    } finally NativeBridge.writerClose(handle)
  }

  private def direct(ints: Int*): ByteBuffer = {
    val buffer = ByteBuffer.allocateDirect(64).order(ByteOrder.LITTLE_ENDIAN)
    ints.foreach(buffer.putInt)
    buffer
  }

  test("rows arrive whole and in order") {
    withWriter() { writer =>
      writer.write(text("schlüssel"), Array[Byte](1, 2, 3), null, null)
      writer.write(text("b"), Array.empty[Byte], text("340282366920938463463374607431768211455"), text("orders"))
      assert(writer.metrics().contains(""""records":0"""), "rows are collected first")
      writer.flush()
      val metrics = writer.metrics()
      assert(metrics.contains(""""records":2"""))
      assert(metrics.contains("""{"bytes":3,"hash":null,"key":"schlüssel","stream":null,"sum":6}"""))
      assert(metrics.contains(
        """{"bytes":0,"hash":"340282366920938463463374607431768211455","key":"b","stream":"orders","sum":0}"""))
    }
  }

  test("many rows go over in full buffers") {
    withWriter() { writer =>
      (0 until 5000).foreach(n => writer.write(text(s"key $n"), Array.fill(1000)((n % 100).toByte), null, null))
      assert(!writer.metrics().contains(""""records":0"""), "a full buffer was handed over before")
      writer.flush()
      writer.flush()
      assert(writer.metrics().contains(""""records":5000""") && writer.metrics().contains(""""bytes":5000000"""))
    }
  }

  test("a record larger than the buffer fits, between small ones") {
    withWriter() { writer =>
      val size = 10 * 1024 * 1024
      writer.write(text("small"), Array[Byte](7), null, null)
      writer.write(text("huge"), Array.fill(size)(1.toByte), null, null)
      writer.write(text("small again"), Array[Byte](8), null, null)
      writer.flush()
      val metrics = writer.metrics()
      assert(metrics.contains(s"""{"bytes":$size,"hash":null,"key":"huge","stream":null,"sum":$size}"""))
      assert(metrics.contains(""""records":3"""))
      assert(metrics.contains(""""key":"small again""""))
    }
  }

  test("what can't be a record is refused with the row's fault") {
    withWriter() { writer =>
      val invalid = Seq[() => Any](
        () => writer.write(text("k"), null, null, null),
        () => writer.write(text("k"), new Array[Byte](StreamWriter.LARGEST_ROW_BYTES), null, null))
      invalid.foreach(body => assert(failure(body()).kind() === KinesisConnectorException.INVALID_ROW))
      writer.write(UTF8String.fromBytes(Array[Byte](-1)), Array[Byte](1), null, null)
      assert(failure(writer.flush()).kind() === KinesisConnectorException.INVALID_ROW)
    }
  }

  test("malformed frames are refused") {
    val malformed = Seq(
      "a length beyond the buffer" -> ((direct(1000, 0, -1, -1), 16, 1)),
      "a negative length" -> ((direct(-5, 0, -1, -1), 16, 1)),
      "a length below that of no partition key" -> ((direct(-2, 0, -1, -1), 16, 1)),
      "a cut frame" -> ((direct(0, 0), 8, 1)),
      "bytes after the last row" -> ((direct(0, 0, -1, -1, 0), 20, 1)),
      "more rows than frames" -> ((direct(0, 0, -1, -1), 16, 2)),
      "a length of the stream's name beyond the buffer" -> ((direct(0, 0, -1, 1), 16, 1)),
      "lengths that overflow together" -> ((direct(Int.MaxValue, Int.MaxValue, Int.MaxValue, Int.MaxValue), 16, 1)),
      "a negative count" -> ((direct(0, 0, -1, -1), 16, -1)),
      "a length beyond the capacity" -> ((direct(0, 0, -1, -1), 65, 1)),
      "a negative fill" -> ((direct(0, 0, -1, -1), -1, 1)),
      "a buffer on the heap" -> ((ByteBuffer.allocate(64), 16, 1)),
      "no buffer" -> ((null, 0, 0)))
    malformed.foreach {
      case (what, (buffer, length, rows)) =>
        val error = failure(rawWrite(buffer, length, rows))
        assert(error.kind() === KinesisConnectorException.INVALID_ARGUMENT, what)
    }
    assert(rawWrite(direct(0, 0, -1, -1), 16, 1) === NativeBridge.DONE)
    assert(rawWrite(direct(-1, 0, -1, -1), 16, 1) === NativeBridge.DONE, "a row may have no partition key")
  }

  test("a flush that fails says so") {
    withWriter(""""flushFails":true""") { writer =>
      val error = failure(writer.flush())
      assert(error.kind() === KinesisConnectorException.PUT_FAILED)
      assert(error.getMessage === "2 records were not accepted [stream=s]")
    }
  }

  test("an interrupt ends a wait for room, and the lost rows fail a later flush") {
    @volatile var writer: StreamWriter = null
    val thrown = stopped(_.interrupt()) { interrupt =>
      writer = StandIn.writer(config(""""block":true"""), interrupt)
      writer.write(text("k"), Array[Byte](1), null, null)
      writer.flush()
    }
    assert(thrown.isInstanceOf[InterruptedException])
    try assert(failure(writer.flush()).kind() === KinesisConnectorException.PUT_FAILED)
    finally writer.close()
  }

  test("a writer's memory outside the heap goes when it is closed") {
    val direct = java.lang.management.ManagementFactory
      .getPlatformMXBeans(classOf[java.lang.management.BufferPoolMXBean])
      .stream()
      .filter(_.getName == "direct")
      .findFirst()
      .get()
    val writer = StandIn.writer(config(), null)
    writer.write(UTF8String.fromString("k"), new Array[Byte](3 * StreamWriter.BUFFER_BYTES), null, null)
    val large = direct.getMemoryUsed
    writer.write(UTF8String.fromString("k"), Array[Byte](1), null, null)
    writer.flush()
    val small = direct.getMemoryUsed
    assert(small < large, "one large row keeps no large buffer")
    writer.close()
    assert(direct.getMemoryUsed <= large - 3 * StreamWriter.BUFFER_BYTES)
  }
}
