//! Which files a statement of the command line or of `capture.toml` is about.

/// What the kind and clock of some files are.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRule {
    /// Path or glob (`*`, `**`, `?`), relative to the argument.
    pub glob: String,
    /// Kind.
    pub kind: Option<String>,
    /// Clock token, or a domain.
    pub clock: Option<String>,
}

/// The path without the ending of a compression.
pub fn plain_path(path: &str) -> String {
    let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
    path.strip_suffix(".tgz").map_or_else(|| path.to_owned(), |stem| format!("{stem}.tar"))
}

/// Whether a path matches a pattern: `?` one character, `*` any but `/`, `**` any.
pub fn glob(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern.first(), path.first()) {
        (None, None) => true,
        (Some(b'*'), _) if pattern.get(1) == Some(&b'*') => {
            let rest = pattern[2..].strip_prefix(b"/").unwrap_or(&pattern[2..]);
            (0..=path.len()).any(|at| glob(rest, &path[at..]))
        }
        (Some(b'*'), _) => {
            let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=end).any(|at| glob(&pattern[1..], &path[at..]))
        }
        (Some(b'?'), Some(byte)) if *byte != b'/' => glob(&pattern[1..], &path[1..]),
        (Some(a), Some(b)) if a == b => glob(&pattern[1..], &path[1..]),
        _ => false,
    }
}
