//! The command line.

use std::path::PathBuf;

use kinesis_sandbox::{SandboxConfig, ShardLimits};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A Kinesis on one's own machine, for demo, tests and benchmarks.

Usage: kinesis-sandbox [options]

  --port N                  port on 127.0.0.1; 0 takes a free one (default 4567)
  --tls-port N              port on 127.0.0.1 for HTTPS beside the plain one; 0 takes a free one (default: none)
  --tls-cert-file PATH      where to write the certificate (PEM) that clients of the HTTPS port have to trust
  --http2-streams N         requests under way on one HTTP/2 connection (default 200)
  --shard-limit N           open shards of all streams together (default 10000)
  --max-record-kib N        maximum record size of new streams, 1024 to 10240 (default 1024)
  --transition-ms N         how long a stream or consumer is not ACTIVE after a change (default 0)
  --iterator-max-age-ms N   how old a shard iterator may grow (default 300000)
  --shard-throughput        enforce a shard's limits: 1 MiB and 1000 records a second written,
                            2 MiB and 5 GetRecords calls a second read (default: no limits)
  --reject-key ID           answer this access key id with UnrecognizedClientException; may be repeated
  --seed N                  seed of random faults (default 1)
  --help                    print this

The first line on stdout is \"listening on http://127.0.0.1:PORT\", with --tls-port the second one
\"listening on https://127.0.0.1:PORT\"; by then the certificate is written. SIGTERM and SIGINT end it.
Everything is in memory. Knobs and counters: POST /sandbox/knobs, GET /sandbox/stats, POST /sandbox/reset.
KINESIS_SANDBOX_LOG sets the log's level on stderr (e.g. debug; default warn).
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print [`HELP`].
    Help,
    /// Serve.
    Serve {
        /// As the arguments say.
        config: SandboxConfig,
        /// Where the certificate of TLS goes.
        certificate: Option<PathBuf>,
    },
}

/// Reads the arguments; both `--name value` and `--name=value` are understood.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut config = SandboxConfig {
        port: 4567,
        ..SandboxConfig::default()
    };
    let mut certificate = None;
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Command::Help);
        }
        if name == "--shard-throughput" {
            if inline.is_some() {
                return Err(format!("{name} takes no value"));
            }
            config.shard_limits = Some(ShardLimits::default());
            continue;
        }
        let known = [
            "--port",
            "--tls-port",
            "--tls-cert-file",
            "--http2-streams",
            "--shard-limit",
            "--max-record-kib",
            "--transition-ms",
            "--iterator-max-age-ms",
            "--reject-key",
            "--seed",
        ];
        if !known.contains(&name.as_str()) {
            return Err(format!("unknown argument {name:?}"));
        }
        let value = inline
            .or_else(|| args.next())
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--port" => config.port = number(&name, &value)?,
            "--tls-port" => config.tls_port = Some(number(&name, &value)?),
            "--tls-cert-file" => certificate = Some(PathBuf::from(value)),
            "--http2-streams" => config.http2_streams = number(&name, &value)?,
            "--shard-limit" => config.shard_limit = number(&name, &value)?,
            "--max-record-kib" => {
                let kib = number(&name, &value)?;
                if !(1024..=10_240).contains(&kib) {
                    return Err(format!("{name} must be between 1024 and 10240, not {kib}"));
                }
                config.max_record_kib = Some(kib);
            }
            "--transition-ms" => config.transition_ms = number(&name, &value)?,
            "--iterator-max-age-ms" => config.iterator_max_age_ms = number(&name, &value)?,
            "--reject-key" => config.rejected_keys.push(value),
            _ => config.seed = number(&name, &value)?,
        }
    }
    if certificate.is_some() != config.tls_port.is_some() {
        return Err("--tls-port and --tls-cert-file go together".to_owned());
    }
    Ok(Command::Serve { config, certificate })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} needs a whole number in range, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(|a| (*a).to_owned()))
    }

    #[test]
    fn reads_both_forms() {
        let Ok(Command::Serve { config, certificate }) = run(&[
            "--port",
            "0",
            "--tls-port=7",
            "--tls-cert-file",
            "ca.pem",
            "--seed=9",
            "--shard-throughput",
            "--reject-key",
            "A",
            "--reject-key=B",
        ]) else {
            panic!("refused");
        };
        assert_eq!((config.port, config.seed, config.rejected_keys.len()), (0, 9, 2));
        assert_eq!((config.tls_port, certificate), (Some(7), Some("ca.pem".into())));
        assert_eq!(config.shard_limits, Some(ShardLimits::default()));
    }

    #[test]
    fn refuses_with_a_reason() {
        for (args, reason) in [
            (&["--prot", "1"][..], "unknown argument \"--prot\""),
            (&["--tls-port=0"], "--tls-port and --tls-cert-file go together"),
            (&["--port"], "--port needs a value"),
            (
                &["--port", "x"],
                "--port needs a whole number in range, not \"x\"",
            ),
            (
                &["--port=70000"],
                "--port needs a whole number in range, not \"70000\"",
            ),
            (&["--shard-throughput=1"], "--shard-throughput takes no value"),
            (
                &["--max-record-kib", "1"],
                "--max-record-kib must be between 1024 and 10240, not 1",
            ),
        ] {
            assert_eq!(run(args).unwrap_err(), reason);
        }
    }

    #[test]
    fn help_names_every_option() {
        assert!(matches!(run(&["--help"]), Ok(Command::Help)));
        for option in [
            "--port",
            "--shard-limit",
            "--transition-ms",
            "--seed",
            "--reject-key",
            "--tls-port",
            "--tls-cert-file",
            "--http2-streams",
        ] {
            assert!(HELP.contains(option));
        }
    }
}
