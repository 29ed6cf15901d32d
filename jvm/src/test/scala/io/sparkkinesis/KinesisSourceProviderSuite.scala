package io.sparkkinesis

import java.util.ServiceLoader

import scala.collection.JavaConverters._

import org.apache.spark.sql.connector.catalog.{SupportsRead, SupportsWrite, TableCapability}
import org.apache.spark.sql.connector.read.SupportsPushDownRequiredColumns
import org.apache.spark.sql.sources.DataSourceRegister
import org.apache.spark.sql.types._
import org.apache.spark.sql.util.CaseInsensitiveStringMap
import org.scalatest.funsuite.AnyFunSuite

class KinesisSourceProviderSuite extends AnyFunSuite {

  private def options(pairs: (String, String)*): CaseInsensitiveStringMap =
    new CaseInsensitiveStringMap(pairs.toMap.asJava)

  private val stream = "kinesis.streamName" -> "orders"
  private val region = "kinesis.region" -> "us-east-1"

  test("both short names are registered, each with its own class") {
    val registered = ServiceLoader.load(classOf[DataSourceRegister]).asScala.toSeq
    assert(registered.filter(_.shortName() == "aws-kinesis").map(_.getClass) == Seq(classOf[KinesisSourceProvider]))
    assert(
      registered.filter(_.shortName() == "aws-kinesis-native").map(_.getClass) ==
        Seq(classOf[KinesisNativeSourceProvider]))
  }

  test("the schema is fixed, and known without a network") {
    val schema = new KinesisSourceProvider().inferSchema(options(stream, region))
    assert(
      schema == new StructType()
        .add("data", BinaryType)
        .add("streamName", StringType)
        .add("partitionKey", StringType)
        .add("sequenceNumber", StringType)
        .add("approximateArrivalTimestamp", TimestampType))
    assert(!new KinesisSourceProvider().supportsExternalMetadata())
  }

  test("extra columns follow in the order given, in the table and in the scan") {
    val extra = options(stream, region, "kinesis.EXTRACOLUMNS" -> "subSequenceNumber, SHARDID,encryptionType")
    val provider = new KinesisSourceProvider
    val schema = provider.inferSchema(extra)
    val expected = KinesisTable.ReadSchema
      .add("subSequenceNumber", LongType)
      .add("shardId", StringType)
      .add("encryptionType", StringType)
    assert(schema == expected)
    val table = provider.getTable(schema, Array.empty, extra).asInstanceOf[KinesisTable]
    assert(table.schema() == expected)
    assert(table.newScanBuilder(extra).build().readSchema() == expected)
    val end = options(stream, region, "kinesis.extraColumns" -> "shardId", "kinesis.endingPosition" -> "LATEST")
    assert(provider.inferSchema(end).fieldNames.last == "shardId")
    val twice = options(stream, region, "kinesis.extraColumns" -> "shardId,shardid")
    assert(intercept[IllegalArgumentException](provider.inferSchema(twice)).getMessage.contains("named twice"))
  }

  test("a scan has the columns that Spark asks for, in Spark's order") {
    val read = options(stream, region, "kinesis.extraColumns" -> "shardId")
    val builder = KinesisTable
      .of(KinesisTable.inferSchema(read), read)
      .asInstanceOf[SupportsRead]
      .newScanBuilder(options())
      .asInstanceOf[SupportsPushDownRequiredColumns]
    val asked = new StructType().add("shardId", StringType).add("data", BinaryType)
    builder.pruneColumns(asked)
    assert(builder.build().readSchema() == asked)
    // The last call counts, and a scan that was built keeps its columns.
    val before = builder.build()
    builder.pruneColumns(new StructType())
    assert(builder.build().readSchema().isEmpty)
    assert(before.readSchema() == asked)
    // A table's column that the options of a read don't add.
    builder.pruneColumns(new StructType().add("encryptionType", StringType).add("data", BinaryType))
    assert(builder.build().readSchema().fieldNames.toSeq == Seq("data"))
  }

  test("options of a read and of a write are both accepted before it is known which it is") {
    val provider = new KinesisSourceProvider
    provider.inferSchema(options(stream, region, "kinesis.startingPosition" -> "TRIM_HORIZON"))
    provider.inferSchema(options(stream, region, "kinesis.sink.aggregationEnabled" -> "false"))
    provider.inferSchema(options(stream, region, "someoneElses.option" -> "x"))
  }

  test("a wrong option is refused at load(), by name") {
    val error = intercept[IllegalArgumentException] {
      new KinesisSourceProvider().inferSchema(options(stream, region, "kinesis.startingPositoin" -> "LATEST"))
    }
    val cause = error.getCause.asInstanceOf[KinesisConnectorException]
    assert(cause.kindName() == "InvalidOption" && cause.context().get("option") == "kinesis.startingPositoin")
    assert(error.getMessage.contains("kinesis.startingPositoin"))
    assert(error.getMessage.contains("kinesis.startingPosition"))
  }

  test("a wrong value of a sink's option is refused as the sink's") {
    val error = intercept[IllegalArgumentException] {
      new KinesisSourceProvider().inferSchema(options(stream, region, "kinesis.sink.aggregationEnabled" -> "perhaps"))
    }
    assert(error.getMessage.contains("kinesis.sink.aggregationEnabled"))
    assert(error.getMessage.contains("perhaps"))
  }

  test("options of a read and of a write together are left until it is known which it is") {
    val both =
      options(stream, region, "kinesis.startingPosition" -> "LATEST", "kinesis.sink.aggregationEnabled" -> "true")
    val provider = new KinesisSourceProvider
    provider.inferSchema(both)
    val table = provider.getTable(KinesisTable.ReadSchema, Array.empty, both).asInstanceOf[SupportsRead]
    val scan = table.newScanBuilder(both).build()
    // A read ignores a write's options, and a write ignores a read's.
    KinesisOptions(both).check(KinesisOptions.Source)
    assert(scan.readSchema() == KinesisTable.ReadSchema)
    KinesisOptions(both).check(KinesisOptions.Sink)
  }

  test("a wrong value of a read's option is refused at load(), unless it may be a write") {
    val wrong = "kinesis.startingPosition" -> "SOON"
    val provider = new KinesisSourceProvider
    val error = intercept[IllegalArgumentException](provider.inferSchema(options(stream, region, wrong)))
    assert(error.getMessage.contains("kinesis.startingPosition is \"SOON\""))
    provider.inferSchema(options(stream, region, wrong, "kinesis.sink.maxConnections" -> "2"))
  }

  test("a key without its prefix is refused where it counts") {
    val unprefixed = KinesisOptions(options(stream, region, "startingPosition" -> "LATEST", "path" -> "/p"))
    Seq(KinesisOptions.Source, KinesisOptions.BatchRead).foreach { kind =>
      val error = intercept[IllegalArgumentException](unprefixed.check(kind))
      assert(error.getMessage.contains("startingPosition has no effect: the option's name is kinesis.startingPosition"))
    }
    unprefixed.check(KinesisOptions.Sink)
    val name = intercept[IllegalArgumentException] {
      new KinesisSourceProvider().inferSchema(options("streamName" -> "orders", region))
    }
    assert(name.getMessage.contains("kinesis.streamName, with the prefix"))
    // The values of other options are not passed on.
    assert(!unprefixed.json.contains("/p") && !unprefixed.json.contains("path"))
  }

  test("an option that is null is refused by its name") {
    val without = options(stream, region, "kinesis.stsRoleArn" -> null, "path" -> null)
    val table = new KinesisSourceProvider().getTable(KinesisTable.ReadSchema, Array.empty, options(stream, region))
      .asInstanceOf[SupportsRead]
    Seq(
      intercept[IllegalArgumentException](new KinesisSourceProvider().inferSchema(without)),
      intercept[IllegalArgumentException](table.newScanBuilder(without).build()))
      .foreach(error => assert(error.getMessage.contains("kinesis.stsRoleArn is null (None in Python)")))
    new KinesisSourceProvider().inferSchema(options(stream, region, "path" -> null))
  }

  test("a missing stream name is refused") {
    val error = intercept[IllegalArgumentException](new KinesisSourceProvider().inferSchema(options(region)))
    assert(error.getMessage.contains("kinesis.streamName"))
  }

  test("the table reads micro-batches and batches, writes streams and batches, and doesn't truncate") {
    val table = new KinesisSourceProvider().getTable(KinesisTable.ReadSchema, Array.empty, options(stream, region))
    assert(table.isInstanceOf[SupportsRead] && table.isInstanceOf[SupportsWrite])
    assert(
      table.capabilities().asScala == Set(
        TableCapability.BATCH_READ,
        TableCapability.MICRO_BATCH_READ,
        TableCapability.STREAMING_WRITE,
        TableCapability.BATCH_WRITE,
        TableCapability.ACCEPT_ANY_SCHEMA))
    assert(table.name() == "KinesisTable[orders]")
    assert(table.toString == "KinesisTable[orders]")
  }

  test("the table is named after the last part of the stream's ARN") {
    val arn = "kinesis.streamArn" -> "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
    val table = new KinesisSourceProvider().getTable(KinesisTable.ReadSchema, Array.empty, options(arn))
    assert(table.name() == "KinesisTable[orders]")
  }

  test("an option that is wrong for streams and batches alike is refused when the schema is asked for") {
    val end = "kinesis.endingPosition" -> "AT_TIMESTAMP 2026-08-30T19:00:05Z"
    assert(new KinesisSourceProvider().inferSchema(options(stream, region, end)) == KinesisTable.ReadSchema)
    val error = intercept[IllegalArgumentException] {
      new KinesisSourceProvider().inferSchema(options(stream, region, "kinesis.endingPosition" -> "soon"))
    }
    assert(error.getMessage.contains("kinesis.endingPosition is \"soon\""))
  }

  test("a table made with options reads and writes with them, and with those of the read in their place") {
    def made(own: (String, String)*): SupportsRead =
      new KinesisSourceProvider()
        .getTable(KinesisTable.ReadSchema, Array.empty, options(own: _*))
        .asInstanceOf[SupportsRead]
    val table = made(stream, region, "kinesis.extraColumns" -> "shardId")
    assert(table.newScanBuilder(options()).build().readSchema().fieldNames.last == "shardId")
    val read = table.newScanBuilder(options("KINESIS.extracolumns" -> "encryptionType")).build()
    assert(read.readSchema().fieldNames.drop(5).toSeq == Seq("encryptionType"))
    val wrong = made(stream, region, "kinesis.endpointUrl" -> "nowhere").newScanBuilder(options()).build()
    val message = intercept[IllegalArgumentException](wrong.toBatch()).getMessage
    assert(message.contains("kinesis.endpointUrl is \"nowhere\""))
  }

  test("a table of Spark 3.5's catalog can't be used, and the message says what can") {
    val provider = new KinesisNativeSourceProvider
    val error = intercept[UnsupportedOperationException](provider.createRelation(null, null))
    assert(error.getMessage.contains("CREATE TEMPORARY VIEW … USING `aws-kinesis-native`"))
  }
}
