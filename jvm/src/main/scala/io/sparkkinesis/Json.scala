package io.sparkkinesis

import java.{util => ju}

import scala.collection.JavaConverters._

import com.fasterxml.jackson.databind.ObjectMapper

/** Reads and writes the small JSON texts that are exchanged with the engine, with Spark's own Jackson. */
private[sparkkinesis] object Json {
  private val mapper = new ObjectMapper()

  /** Converts Java maps, lists, strings, numbers and nulls to JSON text. */
  def write(value: AnyRef): String = mapper.writeValueAsString(value)

  /** Converts JSON text to Java maps, lists, strings and numbers. */
  def read(json: String): AnyRef = mapper.readValue(json, classOf[Object])

  /** The string `field` of the first object in `array`, or of the whole object if it has no such array. */
  def firstString(json: String, array: String, field: String): String = {
    val tree = mapper.readTree(json)
    Option(tree.path(array).get(0)).getOrElse(tree).get(field).asText()
  }

  /** The field names of the nested object `field`; empty if it is missing. */
  def names(json: String, field: String): Set[String] = mapper.readTree(json).path(field).fieldNames().asScala.toSet

  /** The boolean `field` of an object; false if it is missing. */
  def flag(json: String, field: String): Boolean = mapper.readTree(json).path(field).asBoolean(false)

  /** The strings of the array `field` of an object; empty if it is missing. */
  def strings(json: String, field: String): Seq[String] =
    Option(mapper.readTree(json).get(field)).toSeq.flatMap(_.elements().asScala.map(_.asText()))

  /** The strings of a top-level array. */
  def texts(json: String): Seq[String] = mapper.readTree(json).elements().asScala.map(_.asText()).toList

  /** The strings `first` and `second` of each object in the array `field`; empty if it is missing. */
  def pairs(json: String, field: String, first: String, second: String): Seq[(String, String)] =
    Option(mapper.readTree(json).get(field)).toSeq
      .flatMap(_.elements().asScala.map(element => (element.get(first).asText(), element.get(second).asText())))

  /** The scalar values of an object, as strings, without nulls. */
  def stringMap(json: String): ju.Map[String, String] = {
    val result = new ju.LinkedHashMap[String, String]()
    mapper.readValue(json, classOf[ju.Map[String, Object]]).asScala.foreach {
      case (_, null) => ()
      case (key, value) => result.put(key, value.toString)
    }
    result
  }
}
