# Runs commands with PySpark.
# shellcheck shell=bash

# with_spark LINE COMMAND... - runs COMMAND with the Python and the Spark of a line (such as 3.5), and the JAR's path in
# its environment.
with_spark() {
  local line="$1" venv="$VENVS/spark-$1"
  shift
  env -u SPARK_HOME \
    PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv" PYSPARK_PYTHON="$venv/bin/python" \
    SPARK_LOCAL_IP=127.0.0.1 AWS_EC2_METADATA_DISABLED=true \
    SPARK_LINE="$line" SPARK_KINESIS_JAR="$(jar_of "$line")" \
    "$@"
}

# with_tested_spark LINE COMMAND... - with_spark for the tests, which start hundreds of JVMs for a few seconds each.
# They map Spark's classes from an archive and run without the slow compiler, which reduces their CPU time to a third.
with_tested_spark() {
  local archive
  archive="$(class_archive "$1")"
  # A JVM that can't use the archive, such as one without Spark on its class path, continues without it. Its warning is
  # disabled, since it would appear in the output of programs.
  JDK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1 -XX:SharedArchiveFile=\"$archive\" -Xlog:disable -Xlog:all=error:stderr" with_spark "$@"
}

# class_archive LINE - prints the path of the archive of Spark's classes, and creates it if these versions have none.
class_archive() {
  local dir="$BUILD/classes-archive" made_of name
  made_of="$(java_command) $("$(java_command)" -version 2>&1) ${PYSPARK_VERSION[$1]} $VENVS $(cat "$ROOT/scripts/lib/loaded_classes.py")"
  name="spark-$1-$(cksum <<<"$made_of" | cut -d ' ' -f 1).jsa"
  if [ ! -f "$dir/$name" ]; then
    say "archiving the classes of Spark ${PYSPARK_VERSION[$1]}"
    mkdir -p "$dir"
    JDK_JAVA_OPTIONS="-XX:ArchiveClassesAtExit=\"$dir/$name.new\"" \
      with_spark "$1" "$VENVS/spark-$1/bin/spark-submit" "$ROOT/scripts/lib/loaded_classes.py" >"$dir/$name.log" 2>&1 \
      || { cat "$dir/$name.log" >&2; return 1; }
    mv -f "$dir/$name.new" "$dir/$name"
  fi
  printf '%s\n' "$dir/$name"
}
