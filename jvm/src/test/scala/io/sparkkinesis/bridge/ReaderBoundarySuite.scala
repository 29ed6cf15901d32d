package io.sparkkinesis.bridge

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.sql.types.{BinaryType, LongType, StringType, TimestampType}
import org.apache.spark.unsafe.types.UTF8String

/** Rows that are read in place, and the lifetime of their memory. */
class ReaderBoundarySuite extends BoundarySuite {

  private def open(fields: String*): ShardReader = StandIn.reader(config(fields: _*), null)

  private def withPoison[T](body: => T): T = {
    System.setProperty(ShardReader.POISON, "1")
    try body
    finally System.clearProperty(ShardReader.POISON)
  }

  private def readAll(reader: ShardReader, rows: Int): Int = {
    var number = 0
    while (reader.next()) {
      val batch = reader.batch()
      assert(batch.numRows() === rows)
      (0 until rows).foreach { row =>
        val data = new String(batch.column(0).getBinary(row), "UTF-8")
        assert(data === (if (number % 3 == 0) "" else s"data $number"))
        assert(batch.column(1).getUTF8String(row).toString === "boundary-stream")
        assert(batch.column(2).getUTF8String(row).toString === s"schlüssel $number")
        assert(batch.column(3).getUTF8String(row).toString === f"$number%056d")
        assert(batch.column(4).getLong(row) === number * 1000L)
        assert((0 until 5).forall(column => !batch.column(column).isNullAt(row)))
        number += 1
      }
      // Spark does this after every batch.
      batch.closeIfFreeable()
      batch.close()
    }
    number
  }

  test("all batches are read, and then the end") {
    val reader = open(""""batches":5""", """"rows":1000""")
    try {
      assert(readAll(reader, 1000) === 5000)
      assert(!reader.next(), "the end stays the end")
      assert(reader.batch().numRows() === 0)
      assert(reader.finish(true).contains("batches"))
    } finally reader.close()
  }

  test("the columns have the types of the schema") {
    val reader = open()
    try {
      val types = (0 until 5).map(column => reader.batch().column(column).dataType())
      assert(types === Seq(BinaryType, StringType, StringType, StringType, TimestampType))
    } finally reader.close()
  }

  test("only the columns asked for come, in that order, in poison mode too") {
    def readAsked(): Unit = {
      val columns = """"columns":["explicitHashKey","streamName","approximateArrivalTimestamp","data"]"""
      val reader = open(""""batches":2""", """"rows":10""", columns)
      try {
        assert(reader.batch().numCols() === 4)
        (0 until 2).foreach { number =>
          assert(reader.next())
          (0 until 10).foreach { row =>
            val n = number * 10 + row
            assert(text(reader, 0, row) === (if (n % 3 != 0) Some(s"hash $n") else None))
            assert(text(reader, 1, row) === Some("boundary-stream"))
            assert(reader.batch().column(2).getLong(row) === n * 1000L)
            val data = new String(reader.batch().column(3).getBinary(row), "UTF-8")
            assert(data === (if (n % 3 == 0) "" else s"data $n"))
          }
        }
        assert(!reader.next())
      } finally reader.close()
    }
    readAsked()
    withPoison(readAsked())
  }

  test("rows without any column are counted") {
    val reader = open(""""batches":3""", """"rows":1000""", """"columns":[]""")
    try {
      assert(reader.batch().numCols() === 0)
      (0 until 3).foreach { _ =>
        assert(reader.next())
        assert(reader.batch().numRows() === 1000)
      }
      assert(!reader.next())
      assert(reader.batch().numRows() === 0)
    } finally reader.close()
  }

  private def text(reader: ShardReader, column: Int, row: Int): Option[String] = {
    val vector = reader.batch().column(column)
    val value = Option(vector.getUTF8String(row)).map(_.toString)
    assert(vector.isNullAt(row) === value.isEmpty)
    value
  }

  /** Reads two batches of ten rows with all extra columns. */
  private def readExtra(): Unit = {
    val reader = open(""""batches":2""", """"rows":10""", """"extra":true""")
    try {
      val types = (5 until 9).map(column => reader.batch().column(column).dataType())
      assert(types === Seq(StringType, LongType, StringType, StringType))
      (0 until 2).foreach { number =>
        assert(reader.next())
        (0 until 10).foreach { row =>
          val n = number * 10 + row
          assert(text(reader, 5, row) === Some(s"shard $number"))
          assert(reader.batch().column(6).getLong(row) === n + 7)
          assert(text(reader, 7, row) === (if (n % 3 != 0) Some(s"hash $n") else None))
          assert(text(reader, 8, row) === (if (number == 0 && n % 2 == 0) Some("KMS") else None))
        }
        assert((5 until 9).map(reader.batch().column(_).hasNull) === Seq(false, false, true, true))
        val nulls = if (number == 0) Seq(0, 0, 4, 5) else Seq(0, 0, 3, 10)
        assert((5 until 9).map(reader.batch().column(_).numNulls()) === nulls)
        // Reads through a row, as row-based consumers do.
        assert(reader.batch().getRow(3).getLong(6) === number * 10 + 10)
      }
      assert(!reader.next())
      (5 until 9).foreach(column => intercept[IllegalStateException](reader.batch().column(column).isNullAt(0)))
    } finally reader.close()
  }

  test("extra columns come after the usual ones, with nulls") {
    readExtra()
  }

  test("extra columns come in poison mode too, and are overwritten when their batch is gone") {
    withPoison {
      readExtra()
      val reader = open(""""batches":2""", """"rows":10""", """"extra":true""")
      try {
        assert(reader.next())
        val kept = Seq(5, 7).map(column => reader.batch().column(column).getUTF8String(1))
        assert(kept.map(_.toString) === Seq("shard 0", "hash 1"))
        assert(reader.next())
        kept.foreach(value => assert(value.getBytes.toSeq.forall(_ == 0xdd.toByte)))
      } finally reader.close()
    }
  }

  test("a batch without rows is a batch") {
    val reader = open(""""batches":2""", """"rows":0""")
    try assert(readAll(reader, 0) === 0)
    finally reader.close()
  }

  test("the same rows come in poison mode") {
    withPoison {
      val reader = open(""""batches":20""", """"rows":100""")
      try assert(readAll(reader, 100) === 2000)
      finally reader.close()
    }
  }

  test("in poison mode a value kept too long is overwritten") {
    withPoison {
      val reader = open(""""batches":2""", """"rows":10""")
      try {
        assert(reader.next())
        val kept: UTF8String = reader.batch().column(2).getUTF8String(4)
        val copy = reader.batch().column(0).getBinary(4)
        assert(kept.toString === "schlüssel 4")
        assert(reader.next())
        assert(kept.getBytes.toSeq.forall(_ == 0xdd.toByte), "the memory is the next batch's matter")
        assert(new String(copy, "UTF-8") === "data 4", "a copy is the caller's")
      } finally reader.close()
    }
  }

  test("rows outside a live batch are refused") {
    val reader = open(""""batches":1""", """"rows":3""")
    val column = reader.batch().column(2)
    intercept[IllegalStateException](column.getUTF8String(0))
    assert(reader.next())
    assert(column.getUTF8String(2).toString === "schlüssel 2")
    intercept[IllegalStateException](column.getUTF8String(3))
    intercept[IllegalStateException](reader.batch().column(4).getLong(-1))
    reader.close()
    intercept[IllegalStateException](column.getUTF8String(0))
    intercept[IllegalStateException](reader.batch().column(0).getBinary(0))
  }

  test("types that a column does not have are refused") {
    val reader = open()
    try {
      intercept[UnsupportedOperationException](reader.batch().column(0).getInt(0))
      intercept[UnsupportedOperationException](reader.batch().column(4).getUTF8String(0))
    } finally reader.close()
  }

  test("a task that fails has no report, also when its thread is interrupted") {
    val reader = open(""""batches":1""", """"rows":1""")
    try {
      Thread.currentThread().interrupt()
      assert(reader.finish(false) === null)
      assert(Thread.interrupted(), "the interrupt is the caller's to see")
      assert(reader.finish(true) === null, "it is decided once")
    } finally reader.close()
  }

  test("an interrupt ends a wait, and the reader can still be finished") {
    @volatile var reader: ShardReader = null
    val thrown = stopped(_.interrupt()) { interrupt =>
      reader = StandIn.reader(config(""""instead":"block""""), interrupt)
      reader.next()
    }
    assert(thrown.isInstanceOf[InterruptedException])
    try assert(reader.finish(true) !== null)
    finally reader.close()
  }

  test("a task that is killed while its end is decided gives up") {
    @volatile var reader: ShardReader = null
    val thrown = stopped(_.interrupt()) { interrupt =>
      reader = StandIn.reader(config(""""blockFinish":true"""), interrupt)
      reader.finish(true)
    }
    assert(thrown.isInstanceOf[InterruptedException])
    try {
      assert(reader.finish(false) === null)
      assert(reader.metrics().contains(""""givenUp":true"""))
    } finally reader.close()
  }

  test("what the interrupt throws is what the caller sees") {
    val killed = new IllegalStateException("killed")
    val reader = StandIn.reader(config(""""instead":"block""""), () => throw killed)
    try assert(intercept[IllegalStateException](reader.next()) eq killed)
    finally reader.close()
  }

  test("closing from another thread ends a wait") {
    @volatile var reader: ShardReader = null
    val thrown = stopped(_ => reader.close()) { interrupt =>
      reader = StandIn.reader(config(""""instead":"block""""), interrupt)
      reader.next()
    }
    val kinds = Set(KinesisConnectorException.INTERRUPTED, KinesisConnectorException.INVALID_HANDLE)
    assert(kinds(thrown.asInstanceOf[KinesisConnectorException].kind()), thrown)
  }

  test("finishing from another thread ends a wait for rows that nobody needs") {
    @volatile var reader: ShardReader = null
    @volatile var report: String = null
    val thrown = stopped(_ => report = reader.finish(true)) { interrupt =>
      reader = StandIn.reader(config(""""instead":"block""""), interrupt)
      reader.next()
    }
    try {
      assert(report !== null)
      assert(thrown.asInstanceOf[KinesisConnectorException].kind() === KinesisConnectorException.INTERRUPTED)
    } finally reader.close()
  }

  test("a panic while reading does not harm the reader's end") {
    val reader = open(""""instead":"panic"""")
    try {
      assert(failure(reader.next()).getMessage.contains("formatted: while reading"))
      assert(reader.finish(false) === null)
    } finally reader.close()
  }
}
