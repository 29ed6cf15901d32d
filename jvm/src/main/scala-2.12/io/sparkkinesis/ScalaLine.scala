package io.sparkkinesis

/** The Scala line that these classes are compiled for. */
private[sparkkinesis] object ScalaLine {
  def version: String = "2.12"
}
