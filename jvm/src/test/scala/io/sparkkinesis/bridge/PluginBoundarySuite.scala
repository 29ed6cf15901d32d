package io.sparkkinesis.bridge

import java.lang.reflect.Proxy
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Files
import java.util.Collections

import scala.collection.JavaConverters._

import org.apache.spark.api.plugin.{PluginContext, SparkPlugin}
import org.scalatest.concurrent.Eventually
import org.scalatest.time.{Seconds, Span}

/** The executor's part of the plugin, in a process that has not loaded the library. */
class PluginBoundarySuite extends BoundarySuite with Eventually {

  override implicit val patienceConfig: PatienceConfig = PatienceConfig(Span(60, Seconds))

  private def reporters: Set[Thread] =
    Thread.getAllStackTraces.keySet().asScala.filter(_.getName == "kinesis-subscription-reports").toSet

  test("an executor that could not unpack the library at first tries again") {
    val place = Files.createTempDirectory("unpacked").resolve("folder")
    Files.write(place, "in its way".getBytes(UTF_8))
    val before = System.setProperty(NativeLibrary.TEMP_DIR, place.toString)
    val plugin = new IsolatedLoader(getClass.getClassLoader)
      .loadClass("io.sparkkinesis.KinesisPlugin")
      .getDeclaredConstructor()
      .newInstance()
      .asInstanceOf[SparkPlugin]
      .executorPlugin()
    val context = Proxy
      .newProxyInstance(
        getClass.getClassLoader,
        Array[Class[_]](classOf[PluginContext]),
        (_, method, _) => if (method.getName == "executorID") "7" else null)
      .asInstanceOf[PluginContext]
    val others = reporters
    try {
      plugin.init(context, Collections.emptyMap[String, String]())
      val reporter = eventually((reporters -- others).head)
      // The first try has failed, and the reporter waits for the next one.
      eventually(assert(Set(Thread.State.TIMED_WAITING, Thread.State.TERMINATED)(reporter.getState)))
      Files.delete(place)
      eventually(assert(Files.isDirectory(place), "the library was not unpacked again"))
      assert(reporter.isAlive)
    } finally {
      plugin.shutdown()
      if (before == null) System.clearProperty(NativeLibrary.TEMP_DIR)
      else System.setProperty(NativeLibrary.TEMP_DIR, before)
    }
  }
}
