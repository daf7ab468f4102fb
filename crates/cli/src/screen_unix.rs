//! A pipe and a thread that reads it.

use std::io::{self, IsTerminal, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread::JoinHandle;

use crate::escape::escaped_lines;

/// A way to standard output for a sink.
pub(crate) struct Screen {
    path: String,
    /// Keeps the pipe until the sink has opened it.
    writer: Option<PipeWriter>,
    reader: JoinHandle<()>,
}

impl Screen {
    /// The way to standard output, if that is a terminal.
    ///
    /// `None` also where the system has no name for an open pipe: then rows go straight out.
    pub(crate) fn of_stdout() -> Option<Screen> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let (reader, writer) = io::pipe().ok()?;
        let path = format!("/dev/fd/{}", writer.as_raw_fd());
        if !Path::new(&path).exists() {
            return None;
        }
        let reader = std::thread::Builder::new()
            .name("statline-screen".to_owned())
            .spawn(move || show(reader, &mut io::stdout().lock()))
            .ok()?;
        Some(Screen {
            path,
            writer: Some(writer),
            reader,
        })
    }

    /// What the sink is to write to.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The sink has opened the pipe, or never will.
    pub(crate) fn is_opened(&mut self) {
        self.writer = None;
    }

    /// Waits until everything is shown.
    pub(crate) fn finish(mut self) {
        self.writer = None;
        // There is no one to tell of a panic there.
        let _ = self.reader.join();
    }
}

/// Shows whole lines, as a character may be cut between two reads.
fn show(mut from: impl Read, to: &mut impl Write) {
    let mut pending = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        pending.extend_from_slice(&chunk[..read]);
        let ends_row = |&byte: &u8| matches!(byte, b'\n' | 0);
        let whole = match (read, pending.iter().rposition(ends_row)) {
            (0, _) => pending.len(),
            (_, Some(at)) => at + 1,
            (_, None) => 0,
        };
        let lines: Vec<u8> = pending.drain(..whole).collect();
        let shown = to.write_all(escaped_lines(&lines).as_bytes());
        // When the terminal is gone, the sink finds its reader gone.
        if shown.and_then(|()| to.flush()).is_err() || read == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_what_acts_on_a_terminal_does_not() {
        let mut shown = Vec::new();
        show(&b"a\nred\x1b[31m\n\xff\n\0\x01"[..], &mut shown);
        assert_eq!(shown, b"a\nred\\x1b[31m\n\\xff\n\0\\x01");
    }

    #[test]
    fn a_character_between_two_reads_is_whole() {
        let text = "é".repeat(50_000);
        let halves = text.as_bytes().split_at(65_537);
        let mut shown = Vec::new();
        show(halves.0.chain(halves.1), &mut shown);
        assert_eq!(shown, text.as_bytes());
    }
}
