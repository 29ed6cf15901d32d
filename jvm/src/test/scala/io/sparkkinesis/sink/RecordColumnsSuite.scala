package io.sparkkinesis.sink

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String
import org.scalatest.funsuite.AnyFunSuite

class RecordColumnsSuite extends AnyFunSuite {

  private val minimal = new StructType().add("data", BinaryType).add("partitionKey", StringType)

  private def refusal(schema: StructType): String = intercept[IllegalArgumentException](RecordColumns.of(schema)).getMessage

  test("columns are found by name, in any order, and others are ignored") {
    val schema = new StructType()
      .add("id", LongType)
      .add("explicitHashKey", StringType)
      .add("partitionKey", StringType)
      .add("data", StringType)
    assert(RecordColumns.of(schema) == RecordColumns(data = 3, dataIsString = true, partitionKey = 2, explicitHashKey = 1))
    assert(RecordColumns.of(minimal) == RecordColumns(data = 0, dataIsString = false, partitionKey = 1, explicitHashKey = -1))
  }

  test("a stream that takes rows without a key needs no column of keys") {
    val none = RecordColumns.of(new StructType().add("data", StringType), keyless = true)
    assert(none.partitionKeyOf(InternalRow(UTF8String.fromString("d"))) == null)
    val some = RecordColumns.of(minimal, keyless = true)
    assert(some.partitionKeyOf(InternalRow(Array[Byte](1), null)) == null)
    assert(some.partitionKeyOf(InternalRow(Array[Byte](1), UTF8String.fromString("k"))).toString == "k")
    intercept[InvalidRowException](some.partitionKeyOf(InternalRow(Array[Byte](1), UTF8String.fromString(""))))
  }

  test("a column that names streams is refused unless an option says which") {
    val naming = minimal.add("StreamName", StringType)
    val message = refusal(naming)
    assert(message.contains("a column StreamName") && message.contains("kinesis.sink.allowedStreams"))
    assert(refusal(minimal.add("streamName", LongType)).contains("kinesis.sink.allowedStreams"))

    val columns = RecordColumns.of(naming, streams = StreamColumn.Read(needed = true))
    assert(columns.streamNameOf(InternalRow(null, null, UTF8String.fromString("orders"))).toString == "orders")
    assert(columns.streamNameOf(InternalRow(null, null, null)) == null)
    val wrong = intercept[IllegalArgumentException](
      RecordColumns.of(minimal.add("streamName", LongType), streams = StreamColumn.Read(needed = false)))
    assert(wrong.getMessage.contains("bigint"))
  }

  test("a column that names streams may be missing where an option names one") {
    val columns = RecordColumns.of(minimal, streams = StreamColumn.Read(needed = false))
    assert(columns.streamNameOf(InternalRow(null, null)) == null)
    val message = intercept[IllegalArgumentException](
      RecordColumns.of(minimal, streams = StreamColumn.Read(needed = true))).getMessage
    assert(message.contains("no column streamName") && message.contains("kinesis.streamName is missing"))
  }

  test("an exact name is preferred to one that differs in case") {
    val schema = new StructType().add("DATA", LongType).add("data", BinaryType).add("PartitionKey", StringType)
    assert(RecordColumns.of(schema) == RecordColumns(data = 1, dataIsString = false, partitionKey = 2, explicitHashKey = -1))
  }

  test("several names that differ in case only are ambiguous") {
    val message = refusal(new StructType().add("DATA", BinaryType).add("Data", BinaryType).add("partitionKey", StringType))
    assert(message.contains("DATA, Data"))
  }

  test("several columns of exactly one name are ambiguous") {
    Seq("data", "partitionKey", "explicitHashKey").foreach { column =>
      val twice = minimal.add("explicitHashKey", StringType).add(column, StringType)
      assert(refusal(twice).contains(s"2 columns named $column"))
    }
  }

  test("a missing column is named, with what there is") {
    val message = refusal(new StructType().add("value", BinaryType).add("partitionKey", StringType))
    assert(message.contains("no column data (string or binary)"))
    assert(message.contains("value, partitionKey"))
    assert(refusal(new StructType().add("data", BinaryType)).contains("no column partitionKey (string)"))
  }

  test("a wrong type is named, with the allowed ones") {
    val data = refusal(new StructType().add("data", IntegerType).add("partitionKey", StringType))
    assert(data.contains("data") && data.contains("int") && data.contains("string or binary"))
    val key = refusal(new StructType().add("data", BinaryType).add("partitionKey", BinaryType))
    assert(key.contains("partitionKey") && key.contains("binary"))
    val hash = refusal(minimal.add("explicitHashKey", LongType))
    assert(hash.contains("explicitHashKey") && hash.contains("bigint"))
  }

  private def utf8(text: String): UTF8String = UTF8String.fromString(text)

  test("strings and bytes become a record's data") {
    val bytes = Array[Byte](1, 2, 3)
    assert(RecordColumns.of(minimal).dataOf(InternalRow(bytes, utf8("k"))) sameElements bytes)
    val text = RecordColumns.of(new StructType().add("data", StringType).add("partitionKey", StringType))
    assert(text.dataOf(InternalRow(utf8("ä"), utf8("k"))) sameElements "ä".getBytes("UTF-8"))
    assert(text.dataOf(InternalRow(utf8(""), utf8("k"))).isEmpty)
  }

  test("an explicit hash key may be null or missing") {
    val columns = RecordColumns.of(minimal.add("explicitHashKey", StringType))
    assert(columns.explicitHashKeyOf(InternalRow(null, null, utf8("17"))) == utf8("17"))
    assert(columns.explicitHashKeyOf(InternalRow(null, null, null)) == null)
    assert(RecordColumns.of(minimal).explicitHashKeyOf(InternalRow(null, null)) == null)
  }

  test("rows without data or with an impossible key are refused") {
    val columns = RecordColumns.of(minimal)
    def key(value: UTF8String): String =
      intercept[InvalidRowException](columns.partitionKeyOf(InternalRow(null, value))).getMessage
    assert(intercept[InvalidRowException](columns.dataOf(InternalRow(null, utf8("k")))).getMessage.contains("data is null"))
    assert(key(null).contains("partitionKey is null"))
    assert(key(utf8("")).contains("partitionKey is empty"))
    assert(key(utf8("ß" * 257)).contains("257 characters"))
    assert(columns.partitionKeyOf(InternalRow(null, utf8("ß" * 256))).numChars() == 256)
  }
}
