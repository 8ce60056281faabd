//! Sources as bytes: files, unpacked if they are gzipped, and what they look like from their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::doc::{elements, front_elements};
use crate::wire::{MESSAGE_MAX, read_i32};

/// How much of a file is looked at to tell what it is.
const FRONT: usize = 64 << 10;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// The longest document that is read, bytes: the longest message, and what a recorder puts around it.
pub const DOCUMENT_MAX: usize = MESSAGE_MAX + (1 << 20);

/// The longest line of JSON, bytes. The profiler cuts commands at some 50 KB, and what is decoded takes many times its bytes.
pub const LINE_MAX: usize = 4 << 20;

/// The longest name of a client, a server or an application that is taken, bytes: many are remembered.
const NAME_MAX: usize = 256;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `mongoreplay record` wrote it.
    Mongoreplay,
    /// A packet capture.
    Pcap,
    /// Documents of `system.profile`, or of flashback.
    Profiler,
}

impl Format {
    /// As it is written, and in words.
    const ALL: [(Format, &'static str, &'static str); 3] = [
        (Format::Mongoreplay, "mongoreplay", "a playback file of mongoreplay"),
        (Format::Pcap, "pcap", "a packet capture"),
        (Format::Profiler, "profiler", "documents of the profiler"),
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        Format::ALL.iter().find(|(format, ..)| *format == self).map_or("", |(_, _, words)| words)
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let found = Format::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(format, ..)| *format).ok_or_else(|| "it is mongoreplay, pcap or profiler".to_owned())
    }
}

/// A source that is read from its first byte on.
pub struct Input {
    front: Cursor<Vec<u8>>,
    rest: Box<dyn Read + Send>,
    /// What the source failed with, to be told behind what came before it.
    failed: Option<io::Error>,
}

impl Input {
    /// Opens a file.
    pub fn open(path: &Path) -> io::Result<Input> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        Input::new(file)
    }

    /// From any bytes. What is gzipped is unpacked, once.
    pub fn new(bytes: impl Read + Send + 'static) -> io::Result<Input> {
        let mut bytes = BufReader::with_capacity(CHUNK, bytes);
        let is_gzip = bytes.fill_buf()?.starts_with(&GZIP);
        let mut rest: Box<dyn Read + Send> =
            if is_gzip { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        let mut front = Vec::new();
        let read = rest.by_ref().take(FRONT as u64).read_to_end(&mut front);
        // A gzip file that was cut off still has what came before; one that begins with nonsense has nothing.
        let failed = match read {
            Err(error) if front.is_empty() => return Err(error),
            Err(error) => Some(error),
            Ok(_) => None,
        };
        Ok(Input { front: Cursor::new(front), rest, failed })
    }

    /// What it looks like.
    pub fn format(&self) -> Option<Format> {
        let front = self.front.get_ref().as_slice();
        if let Some(magic) = front.first_chunk::<4>() {
            let is_pcap = [*magic, [magic[3], magic[2], magic[1], magic[0]]]
                .iter()
                .any(|magic| matches!(magic, [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]));
            if is_pcap || *magic == [0x0a, 0x0d, 0x0d, 0x0a] {
                return Some(Format::Pcap);
            }
        }
        if is_json(front) {
            return Some(Format::Profiler);
        }
        let length = usize::try_from(read_i32(front, 0)?).ok()?;
        if !(5..=DOCUMENT_MAX).contains(&length) {
            return None;
        }
        let fields = match front.get(..length) {
            Some(document) => elements(document),
            None => front_elements(front),
        };
        let keys: Vec<&[u8]> = fields.map_while(Result::ok).map(|field| field.key).collect();
        let has = |key: &[u8]| keys.contains(&key);
        match () {
            () if has(b"playbackfileversion") => Some(Format::Mongoreplay),
            () if has(b"op") || (has(b"ns") && has(b"ts")) => Some(Format::Profiler),
            () => None,
        }
    }

    /// Its first bytes.
    pub fn front(&self) -> &[u8] {
        self.front.get_ref()
    }

    /// Whether its documents are JSON, and not BSON.
    pub fn is_json(&self) -> bool {
        is_json(self.front.get_ref())
    }
}

/// A BSON document begins with its length: one of 0x7b bytes has zeros behind that, and JSON has none.
fn is_json(front: &[u8]) -> bool {
    let mut text = front.iter().filter(|byte| !byte.is_ascii_whitespace());
    text.next() == Some(&b'{') && front.iter().take(16).all(|byte| *byte != 0)
}

impl Read for Input {
    /// As many bytes as there is room for, unless the source ends: readers of containers take less for its end.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.front.read(out)?;
        if filled == 0
            && let Some(error) = self.failed.take()
        {
            return Err(error);
        }
        while filled < out.len() && self.failed.is_none() {
            match self.rest.read(&mut out[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(filled)
    }
}

/// Why there is no further document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The source ends in the middle of something, or cannot be read on.
    Off(String),
}

/// The next BSON document; `None` at the end.
pub fn bson_document(input: &mut impl Read) -> Result<Option<Vec<u8>>, Cut> {
    let off = |what: &str| Cut::Off(what.to_owned());
    let mut document = Vec::new();
    read_up_to(input, &mut document, 4)?;
    if document.is_empty() {
        return Ok(None);
    }
    let length = read_i32(&document, 0).ok_or_else(|| off("it ends in the middle of a document"))?;
    let length = usize::try_from(length).unwrap_or(0);
    if !(5..=DOCUMENT_MAX).contains(&length) {
        return Err(Cut::Off(format!("a document of {length} bytes; limit {DOCUMENT_MAX}")));
    }
    read_up_to(input, &mut document, length - 4)?;
    match document.len() == length {
        true => Ok(Some(document)),
        false => Err(off("it ends in the middle of a document")),
    }
}

/// The next line without its end; `None` at the end of the source.
pub fn line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Cut> {
    let mut line = Vec::new();
    let read = input.take(LINE_MAX as u64).read_until(b'\n', &mut line);
    read.map_err(|error| Cut::Off(error.to_string()))?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => {
            line.pop();
            Ok(Some(line))
        }
        Some(_) if line.len() == LINE_MAX => Err(Cut::Off(format!("a line of more than {LINE_MAX} bytes"))),
        Some(_) => Ok(Some(line)),
    }
}

/// A name that a source says, or its front if nobody is called like that.
pub fn name(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes memory as bytes come, and not as a length says.
fn read_up_to(input: &mut impl Read, out: &mut Vec<u8>, length: usize) -> Result<(), Cut> {
    let read = input.take(length as u64).read_to_end(out);
    read.map(drop).map_err(|error| Cut::Off(error.to_string()))
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}
