//! Regular expressions: written in Go's syntax (RE2), matched in linear time.
//!
//! The regex crate matches as RE2 does, without going back, and refuses what grows too large when compiled. Its syntax
//! is nearly that of RE2; what reads differently is rewritten.

use regex::{Error, Regex};

/// Compiles a PromQL regular expression: anchored, and `.` matches any character.
pub(crate) fn anchored(expression: &str) -> Result<Regex, Error> {
    let mut rewriting = Rewriting { rest: expression, out: String::with_capacity(expression.len() + 8) };
    rewriting.out.push_str("^(?s:");
    rewriting.expression()?;
    rewriting.out.push_str(")$");
    Regex::new(&rewriting.out)
}

/// RE2's most repetitions.
const MOST_REPETITIONS: u32 = 1000;

fn refuse<T>(message: &str, part: &str) -> Result<T, Error> {
    Err(Error::Syntax(format!("{message}: `{part}`")))
}

struct Rewriting<'a> {
    rest: &'a str,
    out: String,
}

impl Rewriting<'_> {
    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn expression(&mut self) -> Result<(), Error> {
        let mut open = 0_usize;
        while let Some(letter) = self.next() {
            match letter {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => self.repetition()?,
                '(' | ')' => {
                    open = match (letter, open) {
                        ('(', _) => open + 1,
                        (_, 0) => return refuse("unexpected )", ")"),
                        _ => open - 1,
                    };
                    self.out.push(letter);
                }
                letter => self.out.push(letter),
            }
        }
        Ok(())
    }

    /// A brace that begins no repetition stands for itself.
    fn repetition(&mut self) -> Result<(), Error> {
        let counts = self.rest.split_once('}').map(|(counts, _)| counts);
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let valid = |counts: &&str| match counts.split_once(',') {
            None => number(counts),
            Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        };
        let Some(counts) = counts.filter(valid) else {
            self.out.push_str("\\{");
            return Ok(());
        };
        let too_many = |text: &str| text.parse::<u32>().map_or(!text.is_empty(), |count| count > MOST_REPETITIONS);
        if counts.split(',').any(too_many) {
            return refuse("invalid repeat count", &format!("{{{counts}}}"));
        }
        self.out.push('{');
        self.out.push_str(counts);
        self.out.push('}');
        self.rest = &self.rest[counts.len() + 1..];
        Ok(())
    }

    /// What follows a backslash, perhaps in a class. Words, digits and spaces are those of ASCII.
    fn escape(&mut self, in_class: bool) -> Result<(), Error> {
        let Some(letter) = self.next() else { return refuse("trailing backslash at end of expression", "") };
        let (members, negated) = match letter {
            'd' => ("0-9", false),
            'D' => ("0-9", true),
            'w' => ("0-9A-Za-z_", false),
            'W' => ("0-9A-Za-z_", true),
            's' => (r"\t\n\x0C\r ", false),
            'S' => (r"\t\n\x0C\r ", true),
            'b' if !in_class => {
                self.out.push_str(r"(?-u:\b)");
                return Ok(());
            }
            'Q' if !in_class => {
                let (literal, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.out.push_str(&regex::escape(literal));
                self.rest = rest;
                return Ok(());
            }
            '0'..='7' => return self.octal(letter),
            // Between words in the regex crate; here they stand for themselves.
            '<' | '>' => {
                self.out.push(letter);
                return Ok(());
            }
            _ => {
                self.out.push('\\');
                self.out.push(letter);
                return Ok(());
            }
        };
        match (in_class, negated) {
            (true, false) => self.out.push_str(members),
            (_, true) => self.out.push_str(&format!("[^{members}]")),
            (false, false) => self.out.push_str(&format!("[{members}]")),
        }
        Ok(())
    }

    /// An octal number: of up to three digits after a zero, else of two or three. A single digit would refer back.
    fn octal(&mut self, first: char) -> Result<(), Error> {
        let digits = self.rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if first != '0' && digits == 0 {
            return refuse("invalid escape sequence", &format!("\\{first}"));
        }
        let code = u32::from_str_radix(&format!("{first}{}", &self.rest[..digits]), 8).unwrap_or_default();
        self.rest = &self.rest[digits..];
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        Ok(())
    }

    /// A class: brackets, `&&`, `--` and `~~` inside it mean nothing more than themselves.
    fn class(&mut self) -> Result<(), Error> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.out.push('^');
            self.next();
        }
        let mut first = true;
        loop {
            if self.rest.starts_with(']') && !first {
                self.next();
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if let Some(named) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
                let length = named.0.len() + 4;
                self.out.push_str(&self.rest[..length]);
                self.rest = &self.rest[length..];
                continue;
            }
            self.member()?;
            // A dash before another member makes a range; before the end it is a member.
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.next();
                self.out.push('-');
                self.member()?;
            }
        }
    }

    fn member(&mut self) -> Result<(), Error> {
        match self.next() {
            None => refuse("missing closing ]", ""),
            Some('\\') => self.escape(true),
            Some(letter @ ('[' | ']' | '&' | '-' | '~' | '^')) => {
                self.out.push('\\');
                self.out.push(letter);
                Ok(())
            }
            Some(letter) => {
                self.out.push(letter);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::anchored;

    #[track_caller]
    fn check(expression: &str, matching: &[&str], others: &[&str]) {
        let pattern = anchored(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        for text in matching {
            assert!(pattern.is_match(text), "{expression} {text}");
        }
        for text in others {
            assert!(!pattern.is_match(text), "{expression} {text}");
        }
    }

    #[test]
    fn words_digits_and_spaces_are_those_of_ascii() {
        check(r"\d\w\s", &["1a ", "1_\t"], &["٣a ", "1ä ", "1a\u{a0}"]);
        check(r"\D\W\S", &["ää\u{a0}"], &["1ää", "äaä", "ää "]);
        check(r"[\d.]+[\w-]", &["1.2-", "3a"], &["٣a", "3ä"]);
        check(r"[\Dx]", &["ä"], &["1"]);
        check(r"a\b.*", &["a", "aä"], &["ab"]);
    }

    #[test]
    fn braces_and_quotations_may_be_literal() {
        check("{.+}", &["{a}"], &["a"]);
        check("a{,2}", &["a{,2}"], &["aa"]);
        check("a{2}b{1,}c{0,1}", &["aab", "aabbc"], &["abc"]);
        check(r"\Qa.b[\E.", &["a.b[c"], &["axb[c"]);
        check(r"\<\>", &["<>"], &[""]);
        check(r"\101\07", &["A\u{7}"], &[]);
    }

    #[test]
    fn classes_have_no_operators() {
        check("[[]", &["["], &["]"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[^]a]", &["b"], &["]", "a"]);
        check("[a&&b]", &["a", "&", "b"], &["c"]);
        check("[+--]", &["+", ",", "-"], &[".", "*"]);
        check("[--/]", &["-", ".", "/"], &["0"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("[a~~b[:digit:]]", &["~", "7"], &["c"]);
    }

    #[test]
    fn what_re2_refuses_and_what_is_too_large_is_refused() {
        for expression in ["(", ")", "a)(b", "[a", r"\", r"\1", "a{1001}", "*", r"(a)\1", "(?=a)"] {
            assert!(anchored(expression).is_err(), "{expression}");
        }
        assert!(anchored("((a{1,1000}){1,1000}){1,1000}").is_err());
    }
}
