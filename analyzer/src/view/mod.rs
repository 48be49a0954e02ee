//! Stage view.
