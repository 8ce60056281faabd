//! What `replay` and `bench` share: their target, their report and its files, and how Ctrl-C ends them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::print;
use crate::config::{ConnectionString, UriError};
use crate::replay::Report;
use crate::replay::report::{html, text};

/// Where a report goes, beside the terminal.
pub(super) struct Outputs<'a> {
    json: Option<&'a Path>,
    html: Option<&'a Path>,
}

/// What a report is compared with.
pub(super) enum Before {
    /// It was made earlier.
    Report(Box<Report>),
    /// It is made in turn with the other, of this target.
    Target(ConnectionString),
}

impl Before {
    /// What `--compare` says: the report is read now, as a wrong file must not be found out after an hour.
    pub(super) fn of(argument: &str) -> anyhow::Result<Before> {
        match argument.starts_with("mongodb://") || argument.starts_with("mongodb+srv://") {
            true => connection_string("--compare", argument).map(Before::Target),
            false => read_report(Path::new(argument)).map(|report| Before::Report(Box::new(report))),
        }
    }
}

impl<'a> Outputs<'a> {
    /// Finds out whether the files can be written.
    pub(super) fn open(json: &'a Option<PathBuf>, html: &'a Option<PathBuf>) -> anyhow::Result<Outputs<'a>> {
        let (json, html) = (json.as_deref(), html.as_deref());
        [json, html].into_iter().flatten().try_for_each(check_writable)?;
        Ok(Outputs { json, html })
    }

    /// Prints the report and writes its files; an error if it is none of a whole run.
    pub(super) fn give(&self, report: &Report) -> anyhow::Result<()> {
        // The files come first: what becomes of the terminal is no reason to lose them.
        write(self.json, || report.json())?;
        write(self.html, || html(report))?;
        print(&text(report))?;
        check(report)
    }
}

/// The report in a file.
pub(super) fn read_report(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Report::from_json(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// What makes a run end with an error, after its report.
fn check(report: &Report) -> anyhow::Result<()> {
    anyhow::ensure!(report.scorecard.complete, "the scorecard does not add up: this is a defect of torana's");
    anyhow::ensure!(!report.ended.contains("could not be reached"), "{}", report.ended);
    Ok(())
}

/// The target.
pub(super) fn connection_string(option: &str, uri: &str) -> anyhow::Result<ConnectionString> {
    let parsed = ConnectionString::parse(uri);
    parsed.map_err(|error: UriError| anyhow::anyhow!("{option}: {error}"))
}

fn write(path: Option<&Path>, content: impl FnOnce() -> String) -> anyhow::Result<()> {
    if let Some(path) = path {
        // It has answers of the target's in it.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(content().as_bytes()));
        written.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What cannot be written is better found out before an hour of replay than after it.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    let was_there = path.exists();
    let file = std::fs::File::options().append(true).create(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())?;
    // A replay that is refused leaves nothing behind.
    if !was_there {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The first Ctrl-C ends the run with its report, the second at once.
pub(super) fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::signal::ctrl_c().await?;
            stopped.store(true, Ordering::Relaxed);
            tokio::signal::ctrl_c().await
        })
    };
    std::thread::spawn(move || {
        let waited: std::io::Result<()> = wait();
        if waited.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}
