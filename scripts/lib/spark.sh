# Running things on PySpark.
# shellcheck shell=bash

# with_spark LINE COMMAND... - runs it with the Python and the Spark of a line (such as 3.5), told where the JAR is.
with_spark() {
  local line="$1" venv="$VENVS/spark-$1"
  shift
  env -u SPARK_HOME \
    PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv" PYSPARK_PYTHON="$venv/bin/python" \
    SPARK_LOCAL_IP=127.0.0.1 AWS_EC2_METADATA_DISABLED=true \
    SPARK_LINE="$line" SPARK_KINESIS_JAR="$(jar_of "$line")" \
    "$@"
}
