package io.sparkkinesis.bridge

import io.sparkkinesis.KinesisConnectorException

/** An invalid handle causes an error, never a crash. */
class HandleBoundarySuite extends BoundarySuite {

  private def invalid(body: => Any): Unit =
    assert(failure(body).kind() === KinesisConnectorException.INVALID_HANDLE)

  test("a handle that was closed is refused, and so is closing it again") {
    val handle = BoundaryTests.reader(config(), false)
    NativeBridge.readerClose(handle)
    invalid(NativeBridge.readerClose(handle))
    invalid(NativeBridge.readerMetrics(handle))
    invalid(NativeBridge.readerNext(handle, 0, new Array[Long](8)))
    invalid(NativeBridge.readerCancel(handle))
  }

  test("a stale handle does not lead to the object that took its place") {
    val stale = BoundaryTests.reader(config(), false)
    NativeBridge.readerClose(stale)
    val fresh = BoundaryTests.reader(config(), false)
    try {
      assert(stale !== fresh)
      invalid(NativeBridge.readerMetrics(stale))
      assert(NativeBridge.readerMetrics(fresh).contains("millisBehindLatest"))
    } finally NativeBridge.readerClose(fresh)
  }

  test("a handle of another type is refused and stays valid") {
    val reader = BoundaryTests.reader(config(), false)
    try {
      invalid(NativeBridge.plannerMetrics(reader))
      invalid(NativeBridge.plannerClose(reader))
      invalid(NativeBridge.writerClose(reader))
      invalid(NativeBridge.writerFlush(reader, 0))
      assert(NativeBridge.readerStreamName(reader) === "boundary-stream")
    } finally NativeBridge.readerClose(reader)
  }

  test("invented handles are refused") {
    Seq(0L, 1L, -1L, Long.MaxValue, Long.MinValue, 0x0200000000000000L).foreach { handle =>
      invalid(NativeBridge.plannerLatestOffset(handle, "x", 0, new Array[String](1)))
      invalid(NativeBridge.readerFinish(handle, true, 0, new Array[String](1)))
      invalid(NativeBridge.writerMetrics(handle))
    }
  }

  test("an object of the bridge may be closed twice, and is refused afterwards") {
    val before = BoundaryTests.openHandles()
    val planner = StandIn.planner(config(), NoFiles, null)
    val reader = StandIn.reader(config(), null)
    val writer = StandIn.writer(config(), null)
    assert(BoundaryTests.openHandles() === before + 3)
    (1 to 2).foreach { _ =>
      planner.close()
      reader.close()
      writer.close()
    }
    assert(BoundaryTests.openHandles() === before)
    invalid(planner.metrics())
    invalid(reader.next())
    invalid(writer.flush())
  }

  test("the engine's own planners and writers have handles, which are freed") {
    val options = """{"version":1,"options":{"kinesis.streamName":"s","kinesis.region":"eu-west-1"}}"""
    val before = BoundaryTests.openHandles()
    val planner = NativeBridge.plannerOpen(options, NoFiles)
    val writer = NativeBridge.writerOpen(options)
    assert(BoundaryTests.openHandles() === before + 2)
    invalid(NativeBridge.plannerMetrics(writer))
    assert(NativeBridge.writerMetrics(writer).startsWith("{"))
    NativeBridge.plannerClose(planner)
    NativeBridge.writerClose(writer)
    assert(BoundaryTests.openHandles() === before)
  }

  test("an open that fails leaves nothing behind") {
    val before = BoundaryTests.openHandles()
    failure(Planner.open("""{"version":1}""", NoFiles, null))
    failure(ShardReader.open("no json", "{}", NoFiles, null))
    failure(StreamWriter.open("[]", null))
    // Steps after the native open may fail too.
    intercept[IllegalStateException](StandIn.reader(config(""""unknownColumn":"odd""""), null))
    assert(BoundaryTests.openHandles() === before)
  }

  test("result arrays that are too short are refused") {
    val reader = BoundaryTests.reader(config(""""batches":1""", """"rows":1"""), false)
    try {
      failure {
        while (NativeBridge.readerNext(reader, 100, new Array[Long](2)) == NativeBridge.AGAIN) {}
      }
    } finally NativeBridge.readerClose(reader)
  }
}
