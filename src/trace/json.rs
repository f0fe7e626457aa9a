//! The format of the file: an array of events as Chrome's trace viewer defined them. It is the one that chrome://tracing and Perfetto
//! both open, and both take an array whose end is missing, so what a process that died has left can be looked at, too.
//!
//! Rejected: Perfetto's own format, which is a fifth of the size, and opens in one of the two.

use std::fs::File;
use std::io::Write;

/// The file, and what is yet to be written.
pub struct Json {
    file: File,
    bytes: Vec<u8>,
    process: u32,
    any: bool,
    error: i32,
    /// Bytes that went to the file.
    written: u64,
}

/// An event under construction: fields in any order, then `end`.
pub struct Object<'a> {
    json: &'a mut Json,
    arguments: bool,
}

/// About what chrome://tracing opens; Perfetto opens some times as much, slowly.
const BYTES_MAX: u64 = 256 << 20;
/// Written to the file at once.
const CHUNK: usize = 256 << 10;

impl Json {
    /// The array begins.
    pub fn new(file: File) -> Self {
        let mut json = Self {
            file,
            bytes: Vec::with_capacity(CHUNK + 4096),
            process: std::process::id(),
            any: false,
            error: 0,
            written: 0,
        };
        json.bytes.extend(b"[\n");
        json
    }

    /// An event of this process: `phase` is the format's letter for what kind it is.
    pub fn object(&mut self, phase: char, thread: u32, name: &str) -> Object<'_> {
        if self.bytes.len() >= CHUNK {
            self.flush();
        }
        if self.any {
            self.bytes.extend(b",\n");
        }
        self.any = true;
        self.bytes.extend(b"{\"ph\":\"");
        self.bytes.push(phase as u8);
        self.bytes.extend(b"\",\"pid\":");
        decimal(&mut self.bytes, u64::from(self.process));
        self.bytes.extend(b",\"tid\":");
        decimal(&mut self.bytes, u64::from(thread));
        self.bytes.extend(b",\"name\":");
        string(&mut self.bytes, name);
        Object {
            json: self,
            arguments: false,
        }
    }

    /// What was written so far goes to the file. After an error nothing more does: the error is kept.
    pub fn flush(&mut self) {
        if self.error == 0
            && let Err(error) = self.file.write_all(&self.bytes)
        {
            self.error = error.raw_os_error().unwrap_or(libc::EIO);
        }
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
    }

    /// Whether it has got as big as viewers can open.
    pub fn is_full(&self) -> bool {
        self.written >= BYTES_MAX
    }

    /// The array ends. Gives the first error, an errno; 0: none.
    pub fn end(mut self) -> i32 {
        self.bytes.extend(b"\n]\n");
        self.flush();
        self.error
    }
}

impl Object<'_> {
    /// When, in ns: microseconds in the file.
    pub fn at(self, ns: u64) -> Self {
        self.json.bytes.extend(b",\"ts\":");
        microseconds(&mut self.json.bytes, ns);
        self
    }

    /// For how long.
    pub fn lasting(self, ns: u64) -> Self {
        self.json.bytes.extend(b",\"dur\":");
        microseconds(&mut self.json.bytes, ns);
        self
    }

    /// A field of the format that is a word.
    pub fn field(mut self, key: &str, value: &str) -> Self {
        self.key(b",", key);
        string(&mut self.json.bytes, value);
        self
    }

    /// An id: which asynchronous track, which flow.
    pub fn id(self, id: u64) -> Self {
        self.json.bytes.extend(b",\"id\":");
        decimal(&mut self.json.bytes, id);
        self
    }

    /// (Keys are words of ours.)
    fn key(&mut self, before: &[u8], key: &str) {
        let bytes = &mut self.json.bytes;
        bytes.extend(before);
        bytes.push(b'"');
        bytes.extend(key.as_bytes());
        bytes.extend(b"\":");
    }

    fn argument(&mut self, key: &str) {
        let before: &[u8] = if self.arguments { b"," } else { b",\"args\":{" };
        self.arguments = true;
        self.key(before, key);
    }

    /// Something that the viewer shows beside it.
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.argument(key);
        decimal(&mut self.json.bytes, value);
        self
    }

    /// The same.
    pub fn word(mut self, key: &str, value: &str) -> Self {
        self.argument(key);
        string(&mut self.json.bytes, value);
        self
    }

    /// The same, in microseconds.
    pub fn duration(mut self, key: &str, ns: u64) -> Self {
        self.argument(key);
        microseconds(&mut self.json.bytes, ns);
        self
    }

    /// That was it.
    pub fn end(self) {
        self.json
            .bytes
            .extend(if self.arguments { &b"}}"[..] } else { b"}" });
    }
}

fn decimal(bytes: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return bytes.extend(&digits[at..]);
        }
    }
}

fn microseconds(bytes: &mut Vec<u8>, ns: u64) {
    decimal(bytes, ns / 1000);
    let rest = ns % 1000;
    bytes.push(b'.');
    bytes.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => bytes.extend([b'\\', byte]),
            0..0x20 => {
                bytes.extend(b"\\u00");
                bytes.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
            }
            _ => bytes.push(byte),
        }
    }
    bytes.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_json() {
        let mut bytes = Vec::new();
        microseconds(&mut bytes, 1_002_003);
        bytes.push(b' ');
        decimal(&mut bytes, u64::MAX);
        bytes.push(b' ');
        string(&mut bytes, "a\"b\\c\n\u{e4}");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "1002.003 18446744073709551615 \"a\\\"b\\\\c\\u000a\u{e4}\""
        );
    }
}
