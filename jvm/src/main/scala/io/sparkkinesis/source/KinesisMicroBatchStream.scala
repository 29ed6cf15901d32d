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
 * Maps Spark's micro-batch stream to calls of the engine's planner, on the driver. The query's thread calls its
 * methods.
 *
 * @param columns of its rows
 */
private[source] class KinesisMicroBatchStream(options: KinesisOptions, columns: Seq[String], checkpointLocation: String)
    extends MicroBatchStream
    with SupportsTriggerAvailableNow
    with ReportsSourceMetrics {
  import KinesisMicroBatchStream._

  private val spark = SparkSession.active
  private val config =
    EngineConfig.source(
      options,
      columns,
      checkpointLocation,
      spark.conf.get("spark.sql.streaming.minBatchesToRetain").toInt)

  private lazy val hadoopConf: Configuration = {
    // The session's settings apply too, as they do for Spark's own file sources.
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

  // Opened by the first call that needs it, since Spark creates streams that it never uses.
  private var opened: Option[Planner] = None
  private var end: Option[QueryEnd] = None
  private var stopped = false

  private def planner: Planner = synchronized {
    if (stopped) throw new IllegalStateException(s"$this was stopped")
    opened.getOrElse {
      val planner = Planner.open(config.json, new HadoopCheckpointFiles(hadoopConf), TaskInterrupt.Driver)
      opened = Some(planner)
      // The query's consumer is deregistered when the query ends for good, and kept for its next start otherwise.
      if (options.consumerType == KinesisOptions.SubscribeToShard) {
        end = QueryEnd.of(spark.sparkContext)(ended(planner, _))
      }
      planner
    }
  }

  override def initialOffset(): Offset = new KinesisOffset(planner.initialOffset())

  override def deserializeOffset(json: String): Offset = new KinesisOffset(json)

  /** Not called: with admission control, Spark calls the overload with a start. */
  override def latestOffset(): Offset =
    throw new UnsupportedOperationException("latestOffset(Offset, ReadLimit) is to be called instead")

  // The engine limits a batch: per shard, by records, bytes and time. Spark passes latestOffset() either this limit or,
  // with Trigger.Once, allAvailable itself; it uses other limits only for sources that request them. So latestOffset()
  // ignores its limit, and the limits per shard apply under every trigger.
  override def getDefaultReadLimit: ReadLimit = ReadLimit.allAvailable()

  override def latestOffset(start: Offset, limit: ReadLimit): Offset = {
    handOnReports(planner)
    // Null means that there is nothing to read, and starts no batch.
    Option(planner.latestOffset(start.json())).map(new KinesisOffset(_)).orNull
  }

  override def prepareForTriggerAvailableNow(): Unit = planner.prepareForAvailableNow()

  /** The end alone identifies the batch: it holds every shard's start, and reading determines where a shard ends. */
  override def planInputPartitions(start: Offset, end: Offset): Array[InputPartition] = {
    val tasks = planner.partitions(end.json())
    placement.retain(Json.names(end.json(), "shards"))
    val locations = placement.of(tasks.toSeq.map(Placement.firstShard), Placement.executors())
    tasks.zip(locations).map { case (task, location) => new KinesisInputPartition(task, location) }
  }

  override def createReaderFactory(): PartitionReaderFactory = readerFactory

  /**
   * Removes old claims. Spark's asynchronous progress tracking commits once more after [[stop]], and an exception would
   * keep the query from ending; the next start removes what is left.
   */
  override def commit(end: Offset): Unit = if (!synchronized(stopped)) planner.commit(end.json())

  override def metrics(latestConsumedOffset: Optional[Offset]): ju.Map[String, String] =
    synchronized(opened) match {
      case Some(planner) =>
        // Spark reads the metrics right after a batch, before latestOffset() has passed on the batch's reports.
        handOnReports(planner)
        Json.stringMap(planner.metrics())
      case None => ju.Collections.emptyMap()
    }

  override def stop(): Unit = takePlanner().foreach { planner =>
    // Immediately: the query may start again long before Spark reports how it ended.
    try planner.stop()
    finally
      end match {
        case Some(end) => end.streamStopped()
        case None => planner.close()
      }
  }

  /** Called once, after [[stop]], or instead of it if the application ends. */
  private def ended(planner: Planner, forGood: Boolean): Unit = {
    takePlanner()
    try if (forGood) release(planner)
    finally planner.close()
  }

  /** Takes the open planner out, so that later calls get none. */
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

  private def handOnReports(planner: Planner): Unit = TaskTexts.drain(reports).map(TaskReport.of).foreach { report =>
    placement.read(report.shard, report.executor)
    planner.report(report.engine)
  }
}

private[source] object KinesisMicroBatchStream {
  private val log = LoggerFactory.getLogger(classOf[KinesisMicroBatchStream])
}
