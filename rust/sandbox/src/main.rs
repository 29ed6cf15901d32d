//! `kinesis-sandbox`: serves a Kinesis on loopback until it gets a signal to stop.

mod args;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use args::Args;
use clap::Parser;
use kinesis_sandbox::{Sandbox, SandboxConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("KINESIS_SANDBOX_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let (config, certificate) = Args::parse().into_parts();
    match run(config, certificate).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kinesis-sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: SandboxConfig, certificate: Option<PathBuf>) -> io::Result<()> {
    // Install the handlers before the port is printed, so that a signal sent right after it is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let sandbox = Sandbox::start(config).await?;
    let mut out = io::stdout();
    if let (Some(path), Some(pem)) = (certificate, sandbox.tls_certificate()) {
        std::fs::write(&path, pem).map_err(|error| {
            io::Error::other(format!(
                "cannot write the certificate to {}: {error}",
                path.display()
            ))
        })?;
    }
    writeln!(out, "listening on {}", sandbox.endpoint())?;
    if let Some(endpoint) = sandbox.tls_endpoint() {
        writeln!(out, "listening on {endpoint}")?;
    }
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}
