//! One file, whole or absent: written beside its final name, which it gets when all of it is on disk.

use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};

/// Bytes that are gathered ahead of each write.
const GATHERED: usize = 1 << 18;

/// What `make` writes becomes the file `path`; one that is there already is replaced only with `force`. The answer is that of `make`.
///
/// # Errors
/// A file that exists, a folder that cannot be written to, or what `make` says: then nothing is left behind.
pub fn file<T>(path: &Path, force: bool, make: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let shown = path.display();
    let exists = || format!("{shown}: exists; give another --out, or --force to replace it");
    if path.is_dir() {
        bail!("{shown}: is a directory; expected the name of a file");
    }
    // Asked first, so that nobody waits for what will be refused.
    if !force && path.symlink_metadata().is_ok() {
        bail!("{}", exists());
    }
    let name = path.file_name().with_context(|| format!("{shown}: expected the name of a file"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritable = || format!("{shown}: cannot be written");
    std::fs::create_dir_all(parent).with_context(unwritable)?;
    let prefix = format!(".{}.partial-", name.to_string_lossy());
    // As readable as any file that is made here.
    let mode = Permissions::from_mode(0o666);
    let beside =
        tempfile::Builder::new().prefix(&prefix).permissions(mode).tempfile_in(parent).with_context(unwritable)?;
    let mut out = BufWriter::with_capacity(GATHERED, beside);
    let answer = make(&mut out)?;
    let beside = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(unwritable)?;
    beside.as_file().sync_all().with_context(unwritable)?;
    let put = if force { beside.persist(path) } else { beside.persist_noclobber(path) };
    match put {
        Ok(_) => Ok(answer),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => bail!("{}", exists()),
        Err(error) => Err(error.error).with_context(unwritable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/run.txt");
        let write = |text: &'static str| move |out: &mut dyn Write| Ok(out.write_all(text.as_bytes())?);
        file(&path, false, write("one")).unwrap();
        let refused = file(&path, false, write("two")).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        file(&path, true, write("three")).unwrap();
        let broken = |out: &mut dyn Write| -> anyhow::Result<()> {
            out.write_all(b"half")?;
            bail!("the rest cannot be read")
        };
        assert!(file(&path, true, broken).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert!(file(folder.path(), true, write("x")).is_err(), "a folder is no file");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
