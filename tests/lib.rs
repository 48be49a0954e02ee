//! Nothing but test targets: checks over the whole workspace, which belong to no single package.
