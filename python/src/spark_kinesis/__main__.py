"""python -m spark_kinesis [SPARK_VERSION] - prints the path of the JAR.

Without a version, the path of the JAR for the installed PySpark.
"""

import sys

from . import jar_path


def main() -> int:
    if len(sys.argv) > 2 or any(argument.startswith("-") for argument in sys.argv[1:]):
        print("usage: python -m spark_kinesis [SPARK_VERSION]", file=sys.stderr)
        return 2
    try:
        print(jar_path(*sys.argv[1:]))
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
