//! Stage verdict.
