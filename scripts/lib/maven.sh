# The Maven repository of a release.
# shellcheck shell=bash

MAVEN_GROUP=io.sparkkinesis

# build_maven DIR - a Maven repository in DIR as Maven Central takes it: for each line the JAR of build/libs, its POM, sources,
# javadoc, bill of materials and checksums. With MAVEN_GPG_KEY (a secret key, ASCII armoured) and its MAVEN_GPG_PASSPHRASE also signatures.
build_maven() {
  local dir="$1" line jar name place
  say "building POMs, sources and javadoc"
  rm -rf "$BUILD/publication" "$dir"
  run_gradle publication ${PROJECT_URL:+"-PprojectUrl=$PROJECT_URL"}
  for line in "${SPARK_LINES[@]}"; do
    jar="$(jar_of "$line")"
    name="$(basename "$jar" .jar)"
    place="$dir/${MAVEN_GROUP//.//}/${name%-"$(version)"}/$(version)"
    mkdir -p "$place"
    cp "$jar" "$BUILD/publication/$name"{.pom,-sources.jar,-javadoc.jar} "$place/"
    extract_notices "$jar" "$BUILD/publication"
    # Named as CycloneDX's own plugin for Maven does.
    cp "$BUILD/publication/spark-kinesis-native.cdx.json" "$place/$name-cyclonedx.json"
    if [ -n "${MAVEN_GPG_KEY:-}" ]; then sign_files "$place"/*; fi
    add_checksums "$place"/*.jar "$place"/*.pom "$place"/*.json
  done
}

# add_checksums FILE... - FILE.md5, .sha1, .sha256 and .sha512: the bare numbers, as Maven writes them.
add_checksums() {
  local file kind sum
  for file in "$@"; do
    for kind in md5 sha1 sha256 sha512; do
      sum="$("${kind}sum" <"$file")"
      printf '%s' "${sum%% *}" >"$file.$kind"
    done
  done
}

# sign_files FILE... - FILE.asc by MAVEN_GPG_KEY, which is kept nowhere.
sign_files() {
  ensure_command gpg gnupg
  # In a shell of its own, so that the key is gone with it, whatever happens.
  (
    # Of a short name: the agent's socket is in it.
    GNUPGHOME="$(mktemp -d /tmp/gpg.XXXXXX)"
    export GNUPGHOME
    trap 'gpgconf --kill all >/dev/null 2>&1 || true; rm -rf "$GNUPGHOME"' EXIT
    gpg --batch --quiet --import <<<"$MAVEN_GPG_KEY" || die "gpg could not import MAVEN_GPG_KEY: is it an ASCII armoured secret key?"
    for file in "$@"; do
      gpg --batch --quiet --yes --pinentry-mode loopback --passphrase-fd 3 --armor --detach-sign "$file" \
        3<<<"${MAVEN_GPG_PASSPHRASE:-}" || die "gpg could not sign $file: is MAVEN_GPG_PASSPHRASE the key's?"
    done
  )
}
