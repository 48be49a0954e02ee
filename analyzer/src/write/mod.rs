//! Writes a view as HTML, Markdown and JSON, and prints it on a terminal.
//!
//! Files go to a temporary directory beside the target, which is renamed at the end: a report is whole or absent.

pub mod alerts;
pub mod changes;
pub mod csv;
pub mod dashboards;
pub mod grid;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod notes;
pub mod openmetrics;
pub mod perfetto;
pub mod rules;
mod template;
pub mod terminal;
pub mod trend;
pub mod whole;

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use syncline_collector::write::staged::Claim;

use crate::result::RunResult;
use crate::view::Judged;
use crate::view::page::RunPage;

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Markdown,
    /// The short form, for a comment.
    Short,
    Html,
    Json,
}

impl Format {
    /// Parses `md,short,html,json`.
    ///
    /// # Errors
    /// A word that is none of them, or no word at all.
    pub fn list(text: &str) -> anyhow::Result<Vec<Format>> {
        let mut formats = Vec::new();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let format = match word {
                "md" | "markdown" => Format::Markdown,
                "short" => Format::Short,
                "html" => Format::Html,
                "json" => Format::Json,
                other => bail!(
                    "invalid value {other:?} for --formats: expected md, short, html, json, or several of them with commas between"
                ),
            };
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
        if formats.is_empty() {
            bail!("--formats: expected one or more of md, short, html, json");
        }
        Ok(formats)
    }
}

/// One file of a report.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Relative to the output directory.
    pub path: String,
    body: Body<'a>,
}

/// What is in it. The document of a thousand runs is written as it is made.
#[derive(Clone, Debug)]
enum Body<'a> {
    Text(String),
    Document(&'a Judged, &'a [RunResult]),
}

impl File<'_> {
    /// A file of a text.
    pub fn of(path: impl Into<String>, text: String) -> Self {
        Self { path: path.into(), body: Body::Text(text) }
    }

    /// Writes its bytes.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        match &self.body {
            Body::Text(text) => out.write_all(text.as_bytes()),
            Body::Document(judged, runs) => json::write(out, judged, runs),
        }
    }
}

/// Renders the files of a report. The same input gives the same bytes.
///
/// # Errors
/// A template that does not render: a fault of this program.
pub fn render<'a>(judged: &'a Judged, runs: &'a [RunResult], formats: &[Format]) -> anyhow::Result<Vec<File<'a>>> {
    let of_format = |format: &Format| -> anyhow::Result<Vec<File<'a>>> {
        Ok(match format {
            Format::Html => {
                let page = |page: &RunPage| Ok(File::of(page.path.clone(), html::run_page(page)?));
                let pages = judged.view.pages.par_iter().map(page).collect::<anyhow::Result<Vec<File>>>()?;
                [File::of("report.html", html::render(&judged.view)?)].into_iter().chain(pages).collect()
            }
            Format::Short => vec![File::of("summary.md", markdown::summary(&judged.view)?)],
            Format::Json => vec![File { path: "report.json".into(), body: Body::Document(judged, runs) }],
            Format::Markdown => {
                let charts = markdown::charts(&judged.view);
                let charts = charts.iter().map(|one| File::of(format!("figures/{}.svg", one.stem), one.standalone()));
                [File::of("report.md", markdown::render(&judged.view)?)].into_iter().chain(charts).collect()
            }
        })
    };
    let files: Vec<Vec<File>> = formats.par_iter().map(of_format).collect::<anyhow::Result<_>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// Writes the files into `out`: whole or not at all. An existing directory is replaced only with `force`, and only if
/// it holds nothing but a report. Answers the paths of the report files.
///
/// # Errors
/// A directory that exists, or files that cannot be written.
pub fn to_directory(files: &[File<'_>], out: &Path, force: bool) -> anyhow::Result<Vec<PathBuf>> {
    put(files, out, force, &REPORT)
}

/// What a directory holds that may be replaced.
struct Ours {
    what: &'static str,
    holds: fn(&str) -> bool,
}

const REPORT: Ours = Ours {
    what: "report",
    holds: |name| ["report.html", "report.md", "summary.md", "report.json", "figures", "runs"].contains(&name),
};

const DASHBOARDS: Ours =
    Ours { what: "set of dashboards", holds: |name| name == "configmap.yaml" || name.ends_with(".json") };

/// As [`to_directory`], for dashboards.
///
/// # Errors
/// As there.
pub fn dashboards_to_directory(files: &[File<'_>], out: &Path, force: bool) -> anyhow::Result<Vec<PathBuf>> {
    put(files, out, force, &DASHBOARDS)
}

fn put(files: &[File<'_>], out: &Path, force: bool, ours: &Ours) -> anyhow::Result<Vec<PathBuf>> {
    let occupied = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(error).with_context(|| format!("{}: cannot be used as output directory", out.display()));
        }
    };
    if occupied && !force {
        let what = ours.what;
        bail!("{}: is not empty; give another --out, or --force to replace the {what} in it", out.display());
    }
    let claim = Claim::new(out).map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => anyhow!("{}: another process writes it now", out.display()),
        _ => anyhow!(error).context(format!("{}: cannot be written to", out.display())),
    })?;
    for file in files {
        let path = claim.path().join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        }
        let written = fs::File::create(&path).map(BufWriter::new).and_then(|mut out| {
            file.write(&mut out)?;
            out.flush()
        });
        written.with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    if occupied {
        only(ours, out)?;
    }
    let put = claim.commit(force || !occupied);
    put.with_context(|| format!("{}: cannot be put in place", out.display()))?;
    Ok(files.iter().filter(|f| !f.path.contains('/')).map(|f| out.join(&f.path)).collect())
}

/// `--force` replaces a report, never somebody's home directory.
fn only(ours: &Ours, out: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(out)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(ours.holds) {
            let what = ours.what;
            bail!("{}: holds {}, which is no part of a {what}; nothing was replaced", out.display(), name.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
