//! A tool of the machine that is read again and again.
//!
//! It runs under a name of the recorder's own, so that whoever watches processes by name (`scripts/nft-sync.bt`, the top processes) does
//! not take the recorder's `nft` for kube-proxy's:
//!
//! ```text
//! /tmp/syncline-…/syncline-read → /usr/sbin/xtables-nft-multi      argv[0] stays iptables-nft-save, which tells such a program what it is
//! ```

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tool::{Fault, Limit, run};
use crate::record::host::Host;
use crate::record::moment::Moment;

/// What the kernel shows as the command of a tool that the recorder runs.
pub const NAME: &str = "syncline-read";

/// A tool with its arguments.
#[derive(Debug)]
pub struct Reader {
    /// Where it lies, and the name that it is told.
    path: PathBuf,
    name: String,
    arguments: Vec<String>,
    /// Holds the link; removed when the reader is.
    _folder: Option<tempfile::TempDir>,
    text: Vec<u8>,
}

/// What a reading gave.
#[derive(Debug)]
pub struct Reading<'r> {
    /// ns of realtime ahead of the reading and behind it.
    pub from: i64,
    pub until: i64,
    pub text: &'r [u8],
}

impl Reader {
    /// Of a tool that is there.
    ///
    /// # Errors
    /// It is not there.
    pub fn new(host: &Host, tool: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let path = host.tool(tool).with_context(|| format!("{tool} is not installed"))?;
        // A script may look at the name that it is run by, and its process is named after its interpreter anyway.
        let link = || -> Option<(PathBuf, tempfile::TempDir)> {
            let mut begins = [0; 2];
            File::open(&path).ok()?.read_exact(&mut begins).ok()?;
            if &begins == b"#!" {
                return None;
            }
            let folder = tempfile::Builder::new().prefix("syncline-").tempdir().ok()?;
            let link = folder.path().join(NAME);
            std::os::unix::fs::symlink(std::fs::canonicalize(&path).ok()?, &link).ok()?;
            Some((link, folder))
        };
        let (path, folder) = match link() {
            Some((link, folder)) => (link, Some(folder)),
            None => (path, None),
        };
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(Self { path, name: tool.to_owned(), arguments, _folder: folder, text: Vec::new() })
    }

    /// The command, to be followed; the reader must live until it has started.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        // Messages in one language; a group of its own, so that ^C is the recorder's to handle.
        command.arg0(&self.name).args(&self.arguments).env("LC_ALL", "C").process_group(0);
        command
    }

    /// Reads it once, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// As [`run`].
    pub fn read(&mut self, limit: Limit) -> Result<Reading<'_>, Fault> {
        let mut command = self.command();
        let from = Moment::now().realtime;
        run(&mut command, limit, &mut self.text).map_err(|fault| fault.named(&self.name))?;
        Ok(Reading { from, until: Moment::now().realtime, text: &self.text })
    }
}

/// Moves the calling thread, and what it starts from now on, into the network namespace that the proxy programs.
///
/// # Errors
/// The namespace is gone, or may not be entered.
pub fn enter(host: &Host) -> anyhow::Result<()> {
    let Some(path) = &host.netns else { return Ok(()) };
    let file = File::open(path).with_context(|| path.display().to_string())?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("{} may not be entered (CAP_SYS_ADMIN)", path.display()))
}
