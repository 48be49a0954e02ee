//! Files made of pieces of real captures: joined, repeated, wrapped, damaged, compressed.

use std::io::Write;

use arbitrary::Arbitrary;
use flate2::Compression;
use syncline_collector::layers::LAYERS;

use crate::fixtures;

/// Bytes of a file at most.
const LARGEST: usize = 256 << 10;

/// One change of some bytes.
#[derive(Arbitrary, Clone, Debug)]
pub struct Edit {
    /// Where, modulo the length.
    pub at: u16,
    /// What.
    pub change: Change,
}

/// What an edit does.
#[derive(Arbitrary, Clone, Debug)]
pub enum Change {
    /// Puts a byte in the place of another.
    Set(u8),
    /// Flips bits.
    Flip(u8),
    /// Takes bytes out.
    Remove(u8),
    /// Puts bytes in.
    Insert([u8; 4]),
    /// Repeats the bytes behind the place.
    Double(u8),
    /// Takes out all that is behind.
    Cut,
}

/// Some bytes with edits made.
pub fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = usize::from(edit.at) % (bytes.len() + 1);
        let end = |count: u8| (at + usize::from(count)).min(bytes.len());
        match &edit.change {
            Change::Set(byte) if at < bytes.len() => bytes[at] = *byte,
            Change::Flip(bits) if at < bytes.len() => bytes[at] ^= bits,
            Change::Set(_) | Change::Flip(_) => {}
            Change::Remove(count) => drop(bytes.drain(at..end(*count))),
            Change::Insert(more) => drop(bytes.splice(at..at, *more)),
            Change::Double(count) => {
                let piece = bytes[at..end(*count)].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Cut => bytes.truncate(at),
        }
    }
    bytes
}

/// A piece of a file.
#[derive(Arbitrary, Clone, Debug)]
pub enum Part {
    /// The sample of a format or a layer.
    Sample(u8),
    /// The same, again and again.
    Repeated(u8, u8),
    /// One line of a sample.
    Line(u8, u8),
    /// A stamp, seconds since 1970.
    Stamp(u32),
    /// A prompt and a command.
    Prompt(u8),
    /// Whatever bytes.
    Raw(Vec<u8>),
    /// One byte, again and again.
    Run(u8, u16),
}

/// What a file is packed in.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Packed {
    /// Nothing.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// zstd within gzip.
    Twice,
}

/// A file.
#[derive(Arbitrary, Clone, Debug)]
pub struct Content {
    parts: Vec<Part>,
    layers: Vec<u8>,
    edits: Vec<Edit>,
    packed: Packed,
    packed_edits: Vec<Edit>,
}

impl Content {
    /// The sample of a format or a layer, whole and bare.
    pub fn of_sample(number: u8) -> Self {
        let parts = vec![Part::Sample(number)];
        Self { parts, layers: Vec::new(), edits: Vec::new(), packed: Packed::Plain, packed_edits: Vec::new() }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for part in &self.parts {
            part.put(&mut text);
        }
        text.truncate(LARGEST);
        for number in self.layers.iter().take(2) {
            let worn = LAYERS[usize::from(*number) % LAYERS.len()];
            if let Some(put_on) = worn.put_on.filter(|_| text.len() < LARGEST) {
                text = put_on(&text);
            }
        }
        edited(self.packed.pack(edited(text, &self.edits)), &self.packed_edits)
    }
}

impl Part {
    fn put(&self, out: &mut Vec<u8>) {
        if out.len() > LARGEST {
            return;
        }
        match self {
            Part::Sample(number) => out.extend_from_slice(fixtures::sample(*number).as_bytes()),
            Part::Repeated(number, times) => {
                (0..times % 40).for_each(|_| out.extend_from_slice(fixtures::sample(*number).as_bytes()));
            }
            Part::Line(number, line) => {
                let lines: Vec<&str> = fixtures::sample(*number).split_inclusive('\n').collect();
                let line = lines.get(usize::from(*line) % lines.len().max(1)).copied().unwrap_or_default();
                out.extend_from_slice(line.as_bytes());
            }
            Part::Stamp(seconds) => out.extend_from_slice(format!("# TIMESTAMP {seconds}.5\n").as_bytes()),
            Part::Prompt(number) => {
                let commands = ["kubectl get pods -A", "iptables-save", "date +%s", "cilium bpf lb list", "uname -a"];
                let command = commands[usize::from(*number) % commands.len()];
                out.extend_from_slice(format!("root@node-a:~# {command}\n").as_bytes());
            }
            Part::Raw(bytes) => out.extend_from_slice(bytes),
            Part::Run(byte, times) => out.resize(out.len() + usize::from(*times), *byte),
        }
    }
}

impl Packed {
    /// Packs some bytes.
    ///
    /// # Panics
    /// Never: memory has no errors.
    pub fn pack(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Packed::Plain => bytes,
            Packed::Gzip => {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(&bytes).expect("memory has no errors");
                packer.finish().expect("memory has no errors")
            }
            Packed::Zstd => zstd::encode_all(bytes.as_slice(), 1).expect("memory has no errors"),
            Packed::Twice => Packed::Gzip.pack(Packed::Zstd.pack(bytes)),
        }
    }
}
