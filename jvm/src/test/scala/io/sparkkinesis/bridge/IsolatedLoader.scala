package io.sparkkinesis.bridge

import java.io.InputStream
import java.lang.reflect.InvocationTargetException

/** Loads a second copy of the connector's classes, as a second session or REPL of a Spark process may. */
private[bridge] final class IsolatedLoader(parent: ClassLoader) extends ClassLoader(parent) {

  override protected def loadClass(name: String, resolve: Boolean): Class[_] =
    getClassLoadingLock(name).synchronized {
      if (!name.startsWith("io.sparkkinesis.")) super.loadClass(name, resolve)
      else Option(findLoadedClass(name)).getOrElse(define(name))
    }

  private def define(name: String): Class[_] = {
    val in: InputStream = getParent.getResourceAsStream(name.replace('.', '/') + ".class")
    if (in == null) throw new ClassNotFoundException(name)
    try {
      val out = new java.io.ByteArrayOutputStream
      val part = new Array[Byte](8192)
      Iterator.continually(in.read(part)).takeWhile(_ >= 0).foreach(out.write(part, 0, _))
      defineClass(name, out.toByteArray, 0, out.size())
    } finally in.close()
  }

  /** Calls a static method of this loader's copy of a class. Its exceptions are thrown unwrapped. */
  def call(className: String, method: String, arguments: AnyRef*): AnyRef = {
    val found = loadClass(className).getDeclaredMethods
      .find(m => m.getName == method && m.getParameterCount == arguments.length)
      .getOrElse(throw new NoSuchMethodException(s"$className.$method"))
    found.setAccessible(true)
    try found.invoke(null, arguments: _*)
    catch { case e: InvocationTargetException => throw e.getCause }
  }
}
