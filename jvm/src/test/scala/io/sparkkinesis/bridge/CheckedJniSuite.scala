package io.sparkkinesis.bridge

import java.nio.file.{Files, Paths}
import java.util.concurrent.TimeUnit

import scala.collection.JavaConverters._

/** Runs the boundary's suites in a JVM that checks every use of JNI (-Xcheck:jni), and checks its output. */
class CheckedJniSuite extends BoundarySuite {

  private val suites = Seq(
    classOf[ErrorBoundarySuite],
    classOf[HandleBoundarySuite],
    classOf[ReaderBoundarySuite],
    classOf[WriterBoundarySuite],
    classOf[PlannerBoundarySuite],
    classOf[LogBoundarySuite])

  test("the JVM finds no wrong use of JNI") {
    val output = Files.createTempFile("checked-jni", ".log")
    val library = Option(System.getProperty(NativeLibrary.OVERRIDE)).map(p => s"-D${NativeLibrary.OVERRIDE}=$p")
    val command =
      Seq(Paths.get(System.getProperty("java.home"), "bin", "java").toString, "-Xcheck:jni", "-Xmx1g") ++
        opens ++ library ++
        Seq("-cp", System.getProperty("java.class.path"), "org.scalatest.tools.Runner", "-oW") ++
        suites.flatMap(suite => Seq("-s", suite.getName))
    val process =
      new ProcessBuilder(command.asJava).redirectErrorStream(true).redirectOutput(output.toFile).start()
    try assert(process.waitFor(10, TimeUnit.MINUTES), "the checked JVM did not end")
    finally process.destroyForcibly()
    val lines = Files.readAllLines(output).asScala.toSeq
    val text = lines.mkString("\n")
    assert(process.exitValue() === 0, text)
    val found = lines.filter(line => Complaints.exists(line.contains))
    assert(found === Nil, text)
    assert(text.contains("All tests passed"), text)
    Files.delete(output)
  }

  private val Complaints =
    Seq("WARNING in native method", "FATAL ERROR in native method", "WARNING: JNI local refs", "ReleaseStringUTF")

  /** This JVM's `--add-opens` arguments, which the other JVM needs too. */
  private def opens: Seq[String] =
    java.lang.management.ManagementFactory.getRuntimeMXBean.getInputArguments.asScala.toSeq
      .filter(_.startsWith("--add-opens"))
}
