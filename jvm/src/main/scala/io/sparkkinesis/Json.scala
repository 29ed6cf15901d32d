package io.sparkkinesis

import java.{util => ju}

import scala.collection.JavaConverters._

import com.fasterxml.jackson.databind.ObjectMapper

/** The small JSON that crosses to the engine and back. Jackson is the one that Spark brings. */
private[sparkkinesis] object Json {
  private val mapper = new ObjectMapper()

  /** Java maps, lists, strings, numbers and nulls as JSON text. */
  def write(value: AnyRef): String = mapper.writeValueAsString(value)

  /** JSON text as Java maps, lists, strings and numbers. */
  def read(json: String): AnyRef = mapper.readValue(json, classOf[Object])

  /** A string in the first object of an array in an object, or in the object itself if the array is missing. */
  def firstString(json: String, array: String, field: String): String = {
    val tree = mapper.readTree(json)
    Option(tree.path(array).get(0)).getOrElse(tree).get(field).asText()
  }

  /** The names of the fields of an object in an object; none if it is missing. */
  def names(json: String, field: String): Set[String] = mapper.readTree(json).path(field).fieldNames().asScala.toSet

  /** A field of an object, true or false; false if it is missing. */
  def flag(json: String, field: String): Boolean = mapper.readTree(json).path(field).asBoolean(false)

  /** The strings of an array in an object; none if it is missing. */
  def strings(json: String, field: String): Seq[String] =
    Option(mapper.readTree(json).get(field)).toSeq.flatMap(_.elements().asScala.map(_.asText()))

  /** The strings of an array. */
  def texts(json: String): Seq[String] = mapper.readTree(json).elements().asScala.map(_.asText()).toList

  /** Two strings of each object of an array in an object; none if it is missing. */
  def pairs(json: String, field: String, first: String, second: String): Seq[(String, String)] =
    Option(mapper.readTree(json).get(field)).toSeq
      .flatMap(_.elements().asScala.map(element => (element.get(first).asText(), element.get(second).asText())))

  /** An object of plain values, as strings; nulls are left out. */
  def stringMap(json: String): ju.Map[String, String] = {
    val result = new ju.LinkedHashMap[String, String]()
    mapper.readValue(json, classOf[ju.Map[String, Object]]).asScala.foreach {
      case (_, null) => ()
      case (key, value) => result.put(key, value.toString)
    }
    result
  }
}
