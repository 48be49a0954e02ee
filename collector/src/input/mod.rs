//! Files, archives and compressed streams, as chunks of whole records.
