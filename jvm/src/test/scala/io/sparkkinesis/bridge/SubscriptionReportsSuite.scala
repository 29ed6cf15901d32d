package io.sparkkinesis.bridge

import io.sparkkinesis.KinesisConnectorException

/** Executors' reports to the driver. */
class SubscriptionReportsSuite extends BoundarySuite {

  test("a source that no query reads has ended") {
    val status = """{"at":"TRIM_HORIZON","found":"hasRecords","consumer":"c"}"""
    val report = s"""{"process":"p","sources":{"q":{"shardId-000000000000":$status}}}"""
    assert(SubscriptionReports.receive(report) === """{"served":{},"ended":["q"]}""")
    SubscriptionReports.acknowledged("""{"served":{},"ended":["q"]}""")
  }

  test("what can't be understood is refused") {
    for (malformed <- Seq("", "{}", """{"process":"p","sources":{"q":{"s":{"at":"TRIM_HORIZON","found":"?"}}}}""")) {
      val error = failure(SubscriptionReports.receive(malformed))
      assert(error.kind() === KinesisConnectorException.INVALID_ARGUMENT)
      assert(error.getMessage.contains("a report on subscriptions is malformed"))
    }
    assert(failure(SubscriptionReports.acknowledged("x")).kind() === KinesisConnectorException.INVALID_ARGUMENT)
  }

  test("a thread that waits for a report can be interrupted, and another may wait then") {
    for (_ <- 1 to 2) {
      @volatile var interrupted = false
      val thread = new Thread(() =>
        try SubscriptionReports.next()
        catch { case _: InterruptedException => interrupted = true })
      thread.start()
      thread.interrupt()
      thread.join(30000)
      assert(interrupted)
    }
  }
}
