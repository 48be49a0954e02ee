//! Which files a statement of the command line or of `capture.toml` is about.

use std::collections::HashMap;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// What the kind and clock of some files are.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRule {
    /// Path or glob (`*`, `**`, `?`, `[ab]`, `{a,b}`), relative to the argument.
    pub glob: String,
    /// Kind.
    pub kind: Option<String>,
    /// Clock token, or a domain.
    pub clock: Option<String>,
}

/// Bytes of all globs of one `capture.toml`, or of the options of a command: a path is held against all of them at once, which takes
/// as long as both lengths together.
pub const LONGEST: usize = 16 << 10;

/// The path without the ending of a compression.
pub fn plain_path(path: &str) -> String {
    let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
    path.strip_suffix(".tgz").map_or_else(|| path.to_owned(), |stem| format!("{stem}.tar"))
}

/// A pattern: `?` is one character (of ASCII) and `*` any, but for `/`; `**` is any; `[ab]` and `{a,b}` are one of them.
///
/// # Errors
/// What is wrong with it.
pub fn glob(pattern: &str) -> Result<Glob, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("`{pattern}`: expected a path or a glob: {what}");
    // The crate knows `**` as a whole part of a path only, and takes another one for a `*`.
    let mut parts = Vec::new();
    for part in plain_path(pattern).split('/') {
        match part.split_once("**") {
            Some((before, after)) if !(before.is_empty() && after.is_empty()) => {
                if after.contains("**") {
                    return Err(wrong(&"`**` stands once in a part of it"));
                }
                parts.push(format!("{{{before}*{after},{before}*/**/*{after}}}"));
            }
            _ => parts.push(part.to_owned()),
        }
    }
    GlobBuilder::new(&parts.join("/")).literal_separator(true).build().map_err(|error| wrong(error.kind()))
}

/// Statements about files, in the order in which they count.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<SourceRule>,
    globs: GlobSet,
    /// A path may hold what has a meaning in a glob.
    named: HashMap<String, usize>,
}

impl Rules {
    /// These, in this order.
    ///
    /// # Errors
    /// A glob that is none, or all of them where they are too large together.
    pub fn new(rules: Vec<SourceRule>) -> Result<Self, String> {
        let mut globs = GlobSetBuilder::new();
        let mut named = HashMap::new();
        for (at, rule) in rules.iter().enumerate() {
            globs.add(glob(&rule.glob)?);
            named.entry(plain_path(&rule.glob)).or_insert(at);
        }
        let globs = globs.build().map_err(|error| format!("expected fewer or shorter globs: {error}"))?;
        Ok(Self { rules, globs, named })
    }

    /// The first that is about a path without the ending of a compression.
    pub fn of(&self, plain: &str) -> Option<&SourceRule> {
        let globbed = self.globs.matches(plain).into_iter().min();
        let named = self.named.get(plain).copied();
        self.rules.get(globbed.into_iter().chain(named).min()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Rules, SourceRule, glob};

    fn of(pattern: &str, path: &str) -> bool {
        let rule = SourceRule { glob: pattern.to_owned(), kind: None, clock: None };
        Rules::new(vec![rule]).expect("a glob").of(path).is_some()
    }

    #[test]
    fn globs_mean_what_is_written_of_them() {
        for (pattern, path, expected) in [
            ("a/b.txt", "a/b.txt", true),
            ("a/b.txt.gz", "a/b.txt", true),
            ("*.txt", "b.txt", true),
            ("*.txt", "a/b.txt", false),
            ("a/?.txt", "a/b.txt", true),
            ("a?b", "a/b", false),
            ("**", "a/b/c", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "a/bc", false),
            ("a/**", "a/b/c", true),
            ("a/**", "ab", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("**.log", "a.log", true),
            ("**.log", "a/b.log", true),
            ("x**y/z", "x/a/y/z", true),
            ("x**y/z", "xay/z", true),
            ("x**y/z", "xay/b/z", false),
            ("[ab].txt", "a.txt", true),
            ("{a,b}.txt", "b.txt", true),
            ("odd[1].txt", "odd[1].txt", true),
            ("*", ".", true),
        ] {
            assert_eq!(of(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_glob_is_said() {
        for wrong in ["[a", "{a", "a**b**c", "[z-a]"] {
            let said = glob(wrong).expect_err(wrong);
            assert!(said.starts_with(&format!("`{wrong}`: expected a path or a glob: ")), "{said}");
        }
    }

    #[test]
    fn the_first_that_matches_counts() {
        let rule =
            |glob: &str, kind: &str| SourceRule { glob: glob.to_owned(), kind: Some(kind.to_owned()), clock: None };
        let rules = Rules::new(vec![rule("a*", "1"), rule("ab", "2"), rule("*", "3")]).expect("globs");
        let kinds = ["ab", "b", "c/d"].map(|path| rules.of(path).and_then(|rule| rule.kind.clone()));
        assert_eq!(kinds, [Some("1".to_owned()), Some("3".to_owned()), None]);
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let long = "a".repeat(20_000);
        assert!(!of(&"*a".repeat(60), &format!("{long}b")));
        assert!(!of(&format!("{}b", "**/".repeat(60)), &"a/".repeat(2_000)));
        assert!(of(&"*a".repeat(60), &long));
    }
}
