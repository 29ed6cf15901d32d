package io.sparkkinesis.source

import java.{util => ju}
import java.util.Optional

import scala.util.control.NonFatal

import io.sparkkinesis.{EngineConfig, Json, KinesisOptions, TaskInterrupt, TaskTexts}
import io.sparkkinesis.bridge.{HadoopCheckpointFiles, Planner}
import org.apache.hadoop.conf.Configuration
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.connector.read.{InputPartition, PartitionReaderFactory}
import org.apache.spark.sql.connector.read.streaming._
import org.apache.spark.util.SerializableConfiguration
import org.slf4j.LoggerFactory

/**
 * Spark's micro-batch calls, turned into calls of the engine's planner. It lives on the driver,
 * and its methods are called by the query's thread.
 */
private[source] class KinesisMicroBatchStream(options: KinesisOptions, checkpointLocation: String)
    extends MicroBatchStream
    with SupportsTriggerAvailableNow
    with ReportsSourceMetrics {
  import KinesisMicroBatchStream._

  private val spark = SparkSession.active
  private val config =
    EngineConfig.source(options, checkpointLocation, spark.conf.get("spark.sql.streaming.minBatchesToRetain").toInt)

  private lazy val hadoopConf: Configuration = {
    // What the session sets counts too, as it does for Spark's own file sources.
    val conf = new Configuration(spark.sparkContext.hadoopConfiguration)
    spark.conf.getAll.foreach { case (key, value) => if (value != null) conf.set(key, value) }
    conf
  }

  private lazy val readerFactory: KinesisReaderFactory = {
    val files = spark.sparkContext.broadcast(new SerializableConfiguration(hadoopConf))
    new KinesisReaderFactory(config, files, reports)
  }

  private lazy val reports = TaskTexts.registered(spark.sparkContext)

  private val placement = new Placement

  // Opened by the first call that needs it, since Spark makes streams that it never asks anything.
  private var opened: Option[Planner] = None
  private var end: Option[QueryEnd] = None
  private var stopped = false

  private def planner: Planner = synchronized {
    if (stopped) throw new IllegalStateException(s"$this was stopped")
    opened.getOrElse {
      val planner = Planner.open(config.json, new HadoopCheckpointFiles(hadoopConf), TaskInterrupt.Driver)
      opened = Some(planner)
      // What the query registers with the service goes when it ends for good, and stays for its next start otherwise.
      if (options.consumerType == KinesisOptions.SubscribeToShard) {
        end = QueryEnd.of(spark.sparkContext)(ended(planner, _))
      }
      planner
    }
  }

  override def initialOffset(): Offset = new KinesisOffset(planner.initialOffset())

  override def deserializeOffset(json: String): Offset = new KinesisOffset(json)

  /** Spark calls the one with the start where a source has admission control. */
  override def latestOffset(): Offset =
    throw new UnsupportedOperationException("latestOffset(Offset, ReadLimit) is to be called instead")

  // The limits of a batch are the engine's: per shard, by records, bytes and time. Spark gives latestOffset() either
  // this limit or, with Trigger.Once, allAvailable itself. Other kinds come only from sources that ask for them, so
  // there is none to heed, and the limits per shard hold under every trigger.
  override def getDefaultReadLimit: ReadLimit = ReadLimit.allAvailable()

  override def latestOffset(start: Offset, limit: ReadLimit): Offset = {
    handOnReports(planner)
    // Null, for nothing new, makes no batch.
    Option(planner.latestOffset(start.json())).map(new KinesisOffset(_)).orNull
  }

  override def prepareForTriggerAvailableNow(): Unit = planner.prepareForAvailableNow()

  /** The end alone names the batch: it holds every shard's start, and where a shard ends is found by reading. */
  override def planInputPartitions(start: Offset, end: Offset): Array[InputPartition] = {
    val tasks = planner.partitions(end.json())
    placement.retain(Json.names(end.json(), "shards"))
    val shards = tasks.toSeq.map(Json.firstString(_, "tasks", "shard"))
    val locations = placement.of(shards, Placement.executors())
    tasks.zip(locations).map { case (task, location) => new KinesisInputPartition(task, location) }
  }

  override def createReaderFactory(): PartitionReaderFactory = readerFactory

  override def commit(end: Offset): Unit = planner.commit(end.json())

  override def metrics(latestConsumedOffset: Optional[Offset]): ju.Map[String, String] =
    synchronized(opened) match {
      case Some(planner) =>
        // Progress is made right after a batch, before the next one is planned.
        handOnReports(planner)
        Json.stringMap(planner.metrics())
      case None => ju.Collections.emptyMap()
    }

  override def stop(): Unit = takePlanner().foreach { planner =>
    // At once: the query may be started again long before it is told how it ended.
    try planner.stop()
    finally
      end match {
        case Some(end) => end.streamStopped()
        case None => planner.close()
      }
  }

  /** Told once, after [[stop]], or instead of it where the application ends. */
  private def ended(planner: Planner, forGood: Boolean): Unit = {
    takePlanner()
    try if (forGood) release(planner)
    finally planner.close()
  }

  /** The planner if nobody took it before. It is not to be had from now on. */
  private def takePlanner(): Option[Planner] = synchronized {
    stopped = true
    val open = opened
    opened = None
    open
  }

  private def release(planner: Planner): Unit =
    try {
      if (!planner.release()) log.warn(s"$this: the service did not confirm in time that the consumer was deregistered")
    } catch {
      case NonFatal(e) => log.warn(s"$this: the consumer that the query had registered could not be deregistered", e)
    }

  override def toString: String = s"KinesisV2[${options.stream}, ${options.consumerType}]"

  private def handOnReports(planner: Planner): Unit = TaskTexts.drain(reports).foreach(planner.report)
}

private[source] object KinesisMicroBatchStream {
  private val log = LoggerFactory.getLogger(classOf[KinesisMicroBatchStream])
}
