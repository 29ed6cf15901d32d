# The usual entry points; each is one of the scripts, which also work without just.

# What there is
default:
    @just --list

# The main job against a local Kinesis
demo *arguments:
    scripts/demo {{arguments}}

# Everything that CI runs, or some steps of it
test *steps:
    scripts/test {{steps}}

# Format, lints and the Rust tests
check:
    scripts/test lint fmt clippy rust

# Formats all sources
fmt:
    scripts/fmt

# Both JARs for this machine, in build/libs
build *arguments:
    scripts/build {{arguments}}

# JARs for all processors, wheel and Maven repository, in dist
package *arguments:
    scripts/package {{arguments}}

# Measurements
bench *arguments:
    scripts/bench {{arguments}}

# The documentation as a site, in build/site; --serve shows it
docs *arguments:
    scripts/docs {{arguments}}
