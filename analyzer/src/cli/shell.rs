//! `syncline completions` and `syncline man`: what a shell and `man` need to know of the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::aot::{Shell, generate};
use syncline_schema::printable::printable;

use super::print;

/// Name of the program, as it is called.
const NAME: &str = "syncline";

/// Arguments of `syncline completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `syncline man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// Directory to write the pages to; made where there is none
    #[arg(value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completions of a shell.
///
/// # Errors
/// Standard output that cannot be written.
pub fn completions(arguments: &CompletionsArguments, mut command: Command) -> anyhow::Result<ExitCode> {
    // Into memory first: a pipe that closes early is no fault.
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, NAME, &mut script);
    print(&String::from_utf8(script).context("a script in UTF-8")?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes one page a command and prints their paths.
///
/// # Errors
/// A directory that cannot be written.
pub fn man(arguments: &ManArguments, command: Command) -> anyhow::Result<ExitCode> {
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot be created", out.display()))?;
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| format!("{NAME}-{}.1", one.get_name()))
        .chain(std::iter::once(format!("{NAME}.1")))
        .collect();
    clap_mangen::generate_to(command.name(NAME), out)
        .with_context(|| format!("{}: cannot be written to", out.display()))?;
    for name in names.iter().filter(|name| out.join(name).is_file()) {
        print(&format!("{}\n", printable(&out.join(name).to_string_lossy())))?;
    }
    Ok(ExitCode::SUCCESS)
}
