package io.sparkkinesis.bridge

import io.sparkkinesis.KinesisConnectorException

/** What executors tell the driver. */
class NewsBoundarySuite extends BoundarySuite {

  test("a source that no query reads has ended") {
    val stands = """{"at":"TRIM_HORIZON","found":"news","consumer":"c"}"""
    val news = s"""{"process":"p","sources":{"q":{"shardId-000000000000":$stands}}}"""
    assert(News.heard(news) === """{"served":{},"ended":["q"]}""")
    News.answered("""{"served":{},"ended":["q"]}""")
  }

  test("what can't be understood is refused") {
    for (malformed <- Seq("", "{}", """{"process":"p","sources":{"q":{"s":{"at":"TRIM_HORIZON","found":"?"}}}}""")) {
      val error = failure(News.heard(malformed))
      assert(error.kind() === KinesisConnectorException.INVALID_ARGUMENT)
      assert(error.getMessage.contains("news of subscriptions are malformed"))
    }
    assert(failure(News.answered("x")).kind() === KinesisConnectorException.INVALID_ARGUMENT)
  }

  test("a thread that waits for something to tell can be interrupted, and another may wait then") {
    for (_ <- 1 to 2) {
      @volatile var interrupted = false
      val thread = new Thread(() =>
        try News.toTell()
        catch { case _: InterruptedException => interrupted = true })
      thread.start()
      thread.interrupt()
      thread.join(30000)
      assert(interrupted)
    }
  }
}
