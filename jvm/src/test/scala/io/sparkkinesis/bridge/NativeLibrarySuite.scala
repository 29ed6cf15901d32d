package io.sparkkinesis.bridge

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}
import java.nio.file.attribute.PosixFilePermissions

import io.sparkkinesis.KinesisConnectorException

/** Finding, checking and loading the native library. */
class NativeLibrarySuite extends BoundarySuite {
  private val Options = "io.sparkkinesis.bridge.ConnectorOptions"
  private val Good = """{"kinesis.streamName":"s","kinesis.region":"eu-west-1"}"""

  private def loader() = new IsolatedLoader(getClass.getClassLoader)

  /** Loads another library in its own class loader, and returns the loader and the exception. */
  private def failureOf(library: String): (IsolatedLoader, RuntimeException) = {
    val isolated = loader()
    (isolated, intercept[RuntimeException](withLibrary(library)(isolated.call(Options, "check", "source", Good))))
  }

  private def withLibrary[T](library: String)(body: => T): T = withProperty(NativeLibrary.OVERRIDE, library)(body)

  private def withProperty[T](name: String, value: String)(body: => T): T = {
    val before = System.setProperty(name, value)
    try body
    finally {
      if (before == null) System.clearProperty(name)
      else System.setProperty(name, before)
    }
  }

  private def check(isolated: IsolatedLoader): Unit =
    assert(isolated.call(Options, "check", "source", Good).toString.contains(""""streamName":"s""""))

  test("platforms map to resources, and others are refused with their name") {
    assert(NativeLibrary.resource("Linux", "amd64") === "/io/sparkkinesis/native/linux-x86_64/libsparkkinesis.so")
    assert(NativeLibrary.resource("Linux", "aarch64").contains("linux-aarch64"))
    Seq("Mac OS X" -> "aarch64", "Windows 11" -> "amd64", "Linux" -> "s390x").foreach {
      case (os, arch) =>
        val error = failure(NativeLibrary.resource(os, arch))
        assert(error.kind() === KinesisConnectorException.NOT_SUPPORTED)
        assert(error.getMessage.contains(if (os == "Linux") arch else os))
    }
  }

  test("two class loaders of one JVM both work, each with a library of its own") {
    val (one, two) = (loader(), loader())
    Seq(one, two).foreach { isolated =>
      assert(isolated.call(Options, "check", "source", Good).toString.contains(""""streamName":"s""""))
    }
    Seq(one, two).foreach { isolated =>
      val error = intercept[RuntimeException](isolated.call(Options, "check", "sauce", Good))
      assert(error.getClass.getName === classOf[KinesisConnectorException].getName)
      assert(error.getClass.getClassLoader eq isolated)
    }
    val handle = BoundaryTests.writer(config())
    try {
      val refused = intercept[RuntimeException] {
        one.call("io.sparkkinesis.bridge.NativeBridge", "writerMetrics", Long.box(handle))
      }
      assert(refused.getMessage.contains("closed already"), "the handle belongs to the other library")
    } finally NativeBridge.writerClose(handle)
  }

  test("a library of another interface version is refused, every time") {
    val library = libraryPath("examples").resolve("libother_abi.so")
    assert(Files.isRegularFile(library), "build it: cargo build -p spark-kinesis-jni --examples")
    val (isolated, error) = failureOf(library.toString)
    assert(error.getMessage.contains("interface version -1"))
    assert(error.getMessage.contains("one connector JAR only"))
    val again = intercept[RuntimeException](isolated.call(Options, "check", "source", Good))
    assert(again.getMessage === error.getMessage)
  }

  test("a file that is no library, and one that does not exist, are named") {
    val file = Files.createTempFile("no library", ".so")
    Files.write(file, "not an ELF file".getBytes("UTF-8"))
    val (_, error) = failureOf(file.toString)
    assert(error.getMessage.contains(file.toString) && error.getMessage.contains("java.io.tmpdir"))
    Files.delete(file)
    val (_, missing) = failureOf(file.toString)
    assert(missing.getMessage.contains(s"$file, which is no file"))
  }

  test("nothing is left in the temporary folder") {
    def copies: Set[Path] = {
      val all =
        Files.newDirectoryStream(java.nio.file.Paths.get(System.getProperty("java.io.tmpdir")), "libsparkkinesis-*")
      try {
        val paths = Set.newBuilder[Path]
        all.forEach(path => paths += path)
        paths.result()
      } finally all.close()
    }
    val before = copies
    loader().call(Options, "check", "source", Good)
    assert((copies -- before) === Set.empty)
  }

  test("what could not be unpacked is tried again") {
    val place = Files.createTempDirectory("unpacked").resolve("folder")
    Files.write(place, "in its way".getBytes(UTF_8))
    val isolated = loader()
    withProperty(NativeLibrary.TEMP_DIR, place.toString) {
      (1 to 2).foreach { _ =>
        val error = intercept[RuntimeException](isolated.call(Options, "check", "source", Good))
        assert(error.getMessage.contains(s"could not be unpacked to $place"))
        assert(error.getMessage.contains("io.sparkkinesis.tempdir (or java.io.tmpdir) chooses another folder"))
      }
      Files.delete(place)
      check(isolated)
      assert(Files.list(place).count() == 0, "the folder was made, and the copy removed")
    }
  }

  test("nobody else may write to the copy that is loaded") {
    val folder = Files.createTempDirectory("copies")
    val content = Array.tabulate[Byte](3 << 20)(i => (i % 251).toByte)
    val copy = NativeLibrary.copy(() => new java.io.ByteArrayInputStream(content), folder)
    assert(PosixFilePermissions.toString(Files.getPosixFilePermissions(copy)) == "rw-------")
    assert(Files.readAllBytes(copy) sameElements content)
    intercept[java.io.IOException](NativeLibrary.copy(() => throw new java.io.IOException("gone"), folder))
    assert(Files.list(folder).count() == 1)
  }

  test("a library in a folder of java.library.path is loaded from there, if it is the release's") {
    val built = java.nio.file.Paths.get(System.getProperty(NativeLibrary.OVERRIDE))
    assert(NativeLibrary.fits(built, NativeBridge.ABI_VERSION))
    assert(!NativeLibrary.fits(built, NativeBridge.ABI_VERSION + 1))
    val (right, wrong) = (Files.createTempDirectory("right"), Files.createTempDirectory("wrong"))
    Files.createSymbolicLink(right.resolve(NativeLibrary.FILE), built)
    Files.copy(libraryPath("examples").resolve("libother_abi.so"), wrong.resolve(NativeLibrary.FILE))
    val unusable = Files.createTempFile("no", "folder").toString
    withLibrary("") {
      withProperty(NativeLibrary.TEMP_DIR, unusable) {
        withProperty("java.library.path", s"$wrong::/nowhere:$right")(check(loader()))
        withProperty("java.library.path", wrong.toString) {
          val error = intercept[RuntimeException](check(loader()))
          assert(error.getMessage.contains("could not be unpacked"), "then it is the JAR's")
        }
      }
    }
  }
}
