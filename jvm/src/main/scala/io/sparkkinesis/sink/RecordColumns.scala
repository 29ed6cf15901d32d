package io.sparkkinesis.sink

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/** Thrown for a row that can't become a Kinesis record. The message has column, reason and cure, never a value. */
private[sink] final class InvalidRowException(message: String) extends RuntimeException(message)

/**
 * Indexes of a record's columns in the rows to write. Other columns are ignored, so that a query needs no select
 * before its sink.
 *
 * @param partitionKey -1 if there is no such column
 * @param explicitHashKey -1 if there is no such column
 * @param keyless whether any stream takes rows without a partition key
 * @param streamName -1 if there is no such column
 */
private[sink] final case class RecordColumns(
    data: Int,
    dataIsString: Boolean,
    partitionKey: Int,
    explicitHashKey: Int,
    keyless: Boolean = false,
    streamName: Int = -1) {

  /** The record's payload. */
  def dataOf(row: InternalRow): Array[Byte] = {
    if (row.isNullAt(data)) {
      throw new InvalidRowException(
        s"column ${RecordColumns.Data} is null. A record needs data, which may be empty: filter such rows out, " +
          "or give them a value with coalesce")
    }
    if (dataIsString) row.getUTF8String(data).getBytes else row.getBinary(data)
  }

  /** The record's partition key. Null only if a stream takes rows without one. */
  def partitionKeyOf(row: InternalRow): UTF8String =
    if (keyless && (partitionKey < 0 || row.isNullAt(partitionKey))) null else checkedKey(row)

  private def checkedKey(row: InternalRow): UTF8String = {
    if (row.isNullAt(partitionKey)) {
      throw new InvalidRowException(
        s"column ${RecordColumns.PartitionKey} is null. It decides the shard of a record: give such rows a key, " +
          "for instance with coalesce(…, uuid()). Only streams known to have AUTO record distribution take rows " +
          "without")
    }
    val key = row.getUTF8String(partitionKey)
    val length = key.numChars()
    if (length == 0) {
      throw new InvalidRowException(
        s"column ${RecordColumns.PartitionKey} is empty. Kinesis takes keys of 1 to " +
          s"${RecordColumns.MaxKeyChars} characters: give such rows a key")
    }
    if (length > RecordColumns.MaxKeyChars) {
      throw new InvalidRowException(
        s"column ${RecordColumns.PartitionKey} has $length characters. Kinesis takes keys of 1 to " +
          s"${RecordColumns.MaxKeyChars} characters: shorten it, for instance with sha2(…, 256)")
    }
    key
  }

  /** The record's explicit hash key, or null. */
  def explicitHashKeyOf(row: InternalRow): UTF8String = textOf(row, explicitHashKey)

  /** The name of the record's stream, or null. */
  def streamNameOf(row: InternalRow): UTF8String = textOf(row, streamName)

  private def textOf(row: InternalRow, column: Int): UTF8String =
    if (column < 0 || row.isNullAt(column)) null else row.getUTF8String(column)
}

/** The sink's treatment of a column that names streams. */
private[sink] sealed trait StreamColumn

private[sink] object StreamColumn {

  /** Without a list of allowed streams, all rows go to the stream of the options, as in Spark's Kafka sink. */
  case object Ignored extends StreamColumn

  /** Rows name their streams. `needed` is true if the options name no stream. */
  final case class Read(needed: Boolean) extends StreamColumn
}

private[sink] object RecordColumns {
  val Data = "data"
  val PartitionKey = "partitionKey"
  val ExplicitHashKey = "explicitHashKey"
  val StreamName = "streamName"

  /** Kinesis's limit for a partition key, in characters. */
  val MaxKeyChars = 256

  /** Finds the columns. Throws IllegalArgumentException if the schema lacks one, or has one of a wrong type. */
  def of(
      schema: StructType,
      keyless: Boolean = false,
      streams: StreamColumn = StreamColumn.Ignored): RecordColumns = {
    val data = required(schema, Data, "string or binary")
    val partitionKey =
      if (keyless) find(schema, PartitionKey) else Some(required(schema, PartitionKey, "string"))
    val explicitHashKey = find(schema, ExplicitHashKey)

    val dataIsString = schema(data).dataType match {
      case _: StringType => true
      case BinaryType => false
      case _ => throw wrongType(schema(data), Data, "string or binary")
    }
    partitionKey.foreach(index => requireString(schema(index), PartitionKey))
    explicitHashKey.foreach(index => requireString(schema(index), ExplicitHashKey))
    RecordColumns(
      data,
      dataIsString,
      partitionKey.getOrElse(-1),
      explicitHashKey.getOrElse(-1),
      keyless,
      streamName(schema, streams).getOrElse(-1))
  }

  private def streamName(schema: StructType, streams: StreamColumn): Option[Int] = {
    val column = streams match {
      case StreamColumn.Ignored => None
      case StreamColumn.Read(needed) =>
        val column = find(schema, StreamName)
        if (column.isEmpty && needed) {
          throw new IllegalArgumentException(
            s"The rows to be written to Kinesis have no column $StreamName (string), and kinesis.streamName is missing: " +
              "give the option, or the column.")
        }
        column
    }
    column.foreach(index => requireString(schema(index), StreamName))
    column
  }

  private def requireString(field: StructField, column: String): Unit = field.dataType match {
    case _: StringType => ()
    case _ => throw wrongType(field, column, "string")
  }

  private def required(schema: StructType, column: String, allowed: String): Int =
    find(schema, column).getOrElse(
      throw new IllegalArgumentException(
        s"The rows to be written to Kinesis have no column $column ($allowed). " +
          s"Their columns are: ${schema.fieldNames.mkString(", ")}. Select or rename one as $column."))

  /** The column of exactly this name, else the one whose name differs only in case. */
  private def find(schema: StructType, column: String): Option[Int] = {
    val exact = schema.fieldNames.indices.filter(i => schema.fieldNames(i) == column)
    if (exact.size > 1) {
      throw new IllegalArgumentException(
        s"The rows to be written to Kinesis have ${exact.size} columns named $column, and it isn't known which is " +
          "meant. Select one of them, or rename the others.")
    }
    if (exact.nonEmpty) {
      exact.headOption
    } else {
      val alike = schema.fieldNames.indices.filter(i => schema.fieldNames(i).equalsIgnoreCase(column))
      if (alike.size > 1) {
        throw new IllegalArgumentException(
          s"The rows to be written to Kinesis have no column $column, but several whose names differ in case only: " +
            s"${alike.map(i => schema.fieldNames(i)).mkString(", ")}. Rename one as $column.")
      }
      alike.headOption
    }
  }

  private def wrongType(field: StructField, column: String, allowed: String): Exception = {
    val conversion = field.dataType match {
      // Their text as a string isn't JSON.
      case _: StructType | _: MapType | _: ArrayType => s"to_json(${field.name})"
      case _ => s"cast(${field.name} as string)"
    }
    new IllegalArgumentException(
      s"Column ${field.name} is of type ${field.dataType.simpleString}, but Kinesis takes $column as $allowed. " +
        s"Convert it, for instance with $conversion.")
  }
}
