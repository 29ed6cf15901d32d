# The JARs' lists of their contents.
# shellcheck shell=bash

# extract_notices JAR DIR - extracts the JAR's third-party notices, bill of materials and C header to DIR.
extract_notices() {
  local jar names name
  jar="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
  names=(META-INF/THIRD-PARTY.txt META-INF/sbom/spark-kinesis-native.cdx.json io/sparkkinesis/native/include/sparkkinesis.h)
  rm -rf "$BUILD/inside"
  mkdir -p "$BUILD/inside" "$2"
  (cd "$BUILD/inside" && jar xf "$jar" "${names[@]}")
  for name in "${names[@]}"; do
    [ -f "$BUILD/inside/$name" ] || die "$jar has no $name: build it anew"
    cp "$BUILD/inside/$name" "$2/"
  done
}
