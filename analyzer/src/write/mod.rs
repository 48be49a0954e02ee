//! Writes a view as HTML, Markdown and JSON, and prints it on a terminal.
//!
//! Files go to a temporary directory beside the target, which is renamed at the end: a report is whole or absent.

pub mod changes;
pub mod csv;
pub mod grid;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod notes;
mod template;
pub mod terminal;
pub mod trend;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use syncline_collector::write::staged::Claim;

use crate::result::RunResult;
use crate::view::Judged;

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

/// One file of a report: path relative to the output directory, and its bytes.
#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// Renders the files of a report. The same input gives the same bytes.
///
/// # Errors
/// A template that does not render: a fault of this program.
pub fn render(judged: &Judged, runs: &[RunResult], formats: &[Format]) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for format in formats {
        match format {
            Format::Html => {
                files.push(File { path: "report.html".into(), text: html::render(&judged.view)? });
                for (page, view) in judged.view.pages.iter().zip(judged.view.runs.iter()) {
                    files.push(File { path: view.page.clone(), text: html::run_page(page)? });
                }
            }
            Format::Short => files.push(File { path: "summary.md".into(), text: markdown::summary(&judged.view)? }),
            Format::Json => files.push(File { path: "report.json".into(), text: json::render(judged, runs)? }),
            Format::Markdown => {
                files.push(File { path: "report.md".into(), text: markdown::render(&judged.view)? });
                for chart in markdown::charts(&judged.view) {
                    files.push(File { path: format!("figures/{}.svg", chart.stem), text: chart.standalone() });
                }
            }
        }
    }
    Ok(files)
}

/// Writes the files into `out`: whole or not at all. An existing directory is replaced only with `force`, and only if
/// it holds nothing but a report. Answers the paths of the report files.
///
/// # Errors
/// A directory that exists, or files that cannot be written.
pub fn to_directory(files: &[File], out: &Path, force: bool) -> anyhow::Result<Vec<PathBuf>> {
    let occupied = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(error).with_context(|| format!("{}: cannot be used as output directory", out.display()));
        }
    };
    if occupied && !force {
        bail!("{}: is not empty; give another --out, or --force to replace the report in it", out.display());
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
        fs::write(&path, &file.text).with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    if occupied {
        only_reports(out)?;
    }
    let put = claim.commit(force || !occupied);
    put.with_context(|| format!("{}: cannot be put in place", out.display()))?;
    Ok(files.iter().filter(|f| !f.path.contains('/')).map(|f| out.join(&f.path)).collect())
}

/// `--force` replaces a report, never somebody's home directory.
fn only_reports(out: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(out)? {
        let name = entry?.file_name();
        if !["report.html", "report.md", "summary.md", "report.json", "figures", "runs"]
            .iter()
            .any(|known| name == *known)
        {
            bail!("{}: holds {}, which is no part of a report; nothing was replaced", out.display(), name.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
