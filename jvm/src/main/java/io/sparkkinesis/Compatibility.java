package io.sparkkinesis;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Checks whether this JAR fits the Spark it runs on. Uses no API that differs between Scala 2.12 and 2.13. */
final class Compatibility {
  private Compatibility() {}

  private static final Pattern MAJOR_MINOR = Pattern.compile("(\\d+)\\.(\\d+).*");

  private static final String PROBLEM =
      problem(ScalaLine.version(), scala.util.Properties.versionNumberString(), sparkVersion(), jarVersion());

  /** Throws UnsupportedOperationException if this Spark needs another JAR, or is older than 3.5. */
  static void check() {
    if (PROBLEM != null) {
      throw new UnsupportedOperationException(PROBLEM);
    }
  }

  /** The version of the running Spark. */
  static String sparkVersion() {
    try {
      // By reflection: the name of a package object is not a valid Java identifier.
      Class<?> spark = Class.forName("org.apache.spark.package$");
      return (String) spark.getMethod("SPARK_VERSION").invoke(spark.getField("MODULE$").get(null));
    } catch (ReflectiveOperationException | LinkageError e) {
      return "(unknown version)";
    }
  }

  /**
   * The reason why a JAR doesn't fit, with the name of the JAR that does; null if it fits.
   *
   * @param line the Scala line that the JAR is made for, such as 2.12
   * @param scala the running Scala version
   * @param spark the running Spark version
   * @param jar the JAR's version
   */
  static String problem(String line, String scala, String spark, String jar) {
    Matcher version = MAJOR_MINOR.matcher(spark);
    if (version.matches()) {
      int major = Integer.parseInt(version.group(1));
      if (major < 3 || major == 3 && Integer.parseInt(version.group(2)) < 5) {
        return "this is Spark " + spark + ", and the Kinesis connector needs Spark 3.5 or newer";
      }
    }
    Matcher there = MAJOR_MINOR.matcher(scala);
    String needed = there.matches() ? there.group(1) + "." + there.group(2) : scala;
    if (needed.equals(line)) {
      return null;
    }
    String wrong = "this JAR of the Kinesis connector is made for Scala " + line + ", but this is Spark " + spark
        + " with Scala " + scala + ": ";
    if (needed.equals("2.12") || needed.equals("2.13")) {
      return wrong + "use spark-kinesis-native_" + needed + "-" + jar + ".jar in its place";
    }
    return wrong + "there are JARs for Scala 2.12 (Spark 3.5) and 2.13 (Spark 4) only";
  }

  private static String jarVersion() {
    Package own = Compatibility.class.getPackage();
    String version = own == null ? null : own.getImplementationVersion();
    return version == null ? "<version>" : version;
  }
}
