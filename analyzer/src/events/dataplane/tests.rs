//! Replays of small streams and, where they are at hand, of the real captures.
