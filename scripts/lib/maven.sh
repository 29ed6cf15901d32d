# The Maven repository of a release.
# shellcheck shell=bash

MAVEN_GROUP=io.sparkkinesis

# build_maven DIR - builds a Maven repository in DIR that meets Maven Central's rules: for each line the JAR of
# build/libs, its POM, sources, javadoc, bill of materials and checksums. Adds signatures if MAVEN_GPG_KEY (a secret
# key, ASCII armoured) is set, with the passphrase in MAVEN_GPG_PASSPHRASE.
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
    # The file name of CycloneDX's own plugin for Maven.
    cp "$BUILD/publication/spark-kinesis-native.cdx.json" "$place/$name-cyclonedx.json"
    if [ -n "${MAVEN_GPG_KEY:-}" ]; then sign_files "$place"/*; fi
    add_checksums "$place"/*.jar "$place"/*.pom "$place"/*.json
  done
}

# add_checksums FILE... - writes FILE.md5, .sha1, .sha256 and .sha512 with the bare digest, as Maven does.
add_checksums() {
  local file kind sum
  for file in "$@"; do
    for kind in md5 sha1 sha256 sha512; do
      sum="$("${kind}sum" <"$file")"
      printf '%s' "${sum%% *}" >"$file.$kind"
    done
  done
}

# sign_files FILE... - writes FILE.asc, signed with MAVEN_GPG_KEY. The key is not stored.
sign_files() {
  ensure_command gpg gnupg
  # In a subshell, which deletes the key when it exits, for whatever reason.
  (
    # A short path, since the agent's socket is in this folder.
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
