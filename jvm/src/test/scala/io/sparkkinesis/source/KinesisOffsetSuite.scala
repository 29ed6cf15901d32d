package io.sparkkinesis.source

import org.scalatest.funsuite.AnyFunSuite

class KinesisOffsetSuite extends AnyFunSuite {

  test("offsets are equal when their text is, which is how Spark sees that nothing is new") {
    assert(new KinesisOffset("""{"batch":1}""") == new KinesisOffset("""{"batch":1}"""))
    assert(new KinesisOffset("""{"batch":1}""") != new KinesisOffset("""{"batch":2}"""))
  }
}
