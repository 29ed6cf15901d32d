package io.sparkkinesis.bridge

import io.sparkkinesis.{KinesisConnectorException, KinesisCredentials}
import org.scalatest.funsuite.AnyFunSuite

/** Finding, creating and calling credentials classes, of AWS's SDK (a stand-in here) and of the connector. */
class ClassCredentialsSuite extends AnyFunSuite {
  private val end = Providers.END.toEpochMilli.toString

  private def name(simple: String): String = s"io.sparkkinesis.bridge.Providers$$$simple"

  private def load(simple: String, param: String = null): Seq[String] =
    ClassCredentials.of(name(simple), param).load().toSeq

  private def withLoader[T](loader: ClassLoader)(body: => T): T = {
    val thread = Thread.currentThread()
    val before = thread.getContextClassLoader
    thread.setContextClassLoader(loader)
    try body
    finally thread.setContextClassLoader(before)
  }

  test("each way to make one") {
    Seq("Created", "Built", "Own").foreach(simple => ClassCredentials.check(name(simple), false))
    Seq("Created", "Own").foreach(simple => ClassCredentials.check(name(simple), true))
    assert(load("Created") === Seq("created", "secret", "token", end))
    assert(load("Created", "p") === Seq("created with p", "secret", null, null))
    assert(load("Built") === Seq("built", "secret", "token", null))
    assert(load("Own") === Seq("own", "secret", null, null))
    assert(load("Own", "p") === Seq("own with p", "secret", "token", end))
  }

  test("what can't give credentials is refused with the option's name, and without running its code") {
    Seq(
      ("no.such.Provider", false, "there is no such class"),
      (
        name("NoProvider"),
        false,
        "it is neither a software.amazon.awssdk.auth.credentials.AwsCredentialsProvider nor a " +
          "io.sparkkinesis.KinesisCredentialsProvider"),
      (name("OnlyWithTwo"), false, "it has neither a public static create() or builder()"),
      (name("Failing"), false, "a class that takes one String needs kinesis.credentialProviderParam"),
      (name("Built"), true, "remove kinesis.credentialProviderParam"))
      .foreach { case (className, withParam, why) =>
        val error = intercept[KinesisConnectorException](ClassCredentials.check(className, withParam))
        assert(error.kind() === KinesisConnectorException.INVALID_OPTION)
        assert(error.getMessage.startsWith(s"kinesis.credentialProviderClass $className: "))
        assert(error.getMessage.contains(why))
        assert(error.context().get("option") === "kinesis.credentialProviderClass")
        val texts = ClassCredentials.of(className, if (withParam) "p" else null).load().toSeq
        assert(texts.length === 2)
        assert(texts.head.contains(why))
        assert(texts(1) === "false")
      }
  }

  test("exceptions are shown as they are, but for the parameter") {
    assert(
      load("Failing", "PARAM-1") === Seq(
        "java.lang.IllegalStateException: the vault is sealed to *********(redacted) (caused by " +
          "java.lang.RuntimeException: 503)",
        "true"))
    assert(
      load("Failing", "constructor-1") ===
        Seq("java.lang.IllegalStateException: not made with *********(redacted)", "true"))
    assert(load("Failing", "error") === Seq("java.lang.NoClassDefFoundError: com/example/Missing", "false"))
    assert(load("Failing", "null") === Seq("it gave null instead of credentials", "false"))
    assert(load("Failing", "empty") === Seq("it gave credentials without a key or without its secret", "false"))
  }

  test("those who ask alike in one class loader share one object, made and asked in that loader") {
    val loader = new ClassLoader(getClass.getClassLoader) { override def toString: String = "the job's" }
    val (first, again, other) = withLoader(loader) {
      val className = name("LoaderOfThread")
      (ClassCredentials.of(className, null), ClassCredentials.of(className, null), ClassCredentials.of(className, "p"))
    }
    assert(first eq again)
    val elsewhere = ClassCredentials.of(name("LoaderOfThread"), null)
    assert(Set(first.id, other.id, elsewhere.id).size === 3)
    assert(first.load().toSeq.take(2) === Seq("the job's", "the job's"))
  }

  test("the text of credentials shows none of them") {
    val text = KinesisCredentials.ofSession("KEY", "SECRET", "TOKEN", Providers.END).toString
    assert(text === "KinesisCredentials(redacted)")
  }
}
