//! A terminal of the simulated cluster: lets somebody in, and answers like a very small shell.

use crate::server::{Heard, Peer};

/// How far somebody came.
enum Stage {
    /// Nobody has shown a ticket.
    Door,
    Inside,
}

/// The other end of a console.
pub(crate) struct Terminal {
    /// What has to be said at the door.
    word: String,
    name: String,
    /// Why there is nothing to be seen.
    off: Option<String>,
    stage: Stage,
    /// What came and is no whole frame yet.
    rest: Vec<u8>,
    line: Vec<u8>,
    size: (u16, u16),
}

impl Terminal {
    pub(crate) fn new(word: String, name: String, off: Option<String>) -> Self {
        Self { word, name, off, stage: Stage::Door, rest: Vec::new(), line: Vec::new(), size: (80, 24) }
    }

    fn prompt(&self) -> String {
        format!("root@{}:~# ", self.name)
    }

    /// What is said to a key.
    fn key(&mut self, key: u8, said: &mut Vec<u8>) -> Heard {
        match key {
            b'\r' => {
                said.extend(b"\r\n");
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                let words: Vec<&str> = line.split_whitespace().collect();
                let (columns, rows) = self.size;
                let answer = match words.as_slice() {
                    [] => String::new(),
                    ["exit" | "logout" | "poweroff"] => return Heard::Over,
                    ["hostname"] => format!("{}\r\n", self.name),
                    ["stty", "size"] => format!("{rows} {columns}\r\n"),
                    ["echo", words @ ..] => format!("{}\r\n", words.join(" ")),
                    [program, ..] => format!("-sh: {program}: not found\r\n"),
                };
                said.extend(answer.bytes());
                said.extend(self.prompt().bytes());
            }
            key => {
                self.line.push(key);
                said.push(key);
            }
        }
        Heard::GoesOn
    }

    /// Takes a whole frame off what came.
    fn frame(&mut self) -> Option<Frame> {
        let head = self.rest.iter().position(|byte| *byte == b':');
        match self.rest.first()? {
            b'2' => {
                self.rest.remove(0);
                Some(Frame::Alive)
            }
            b'0' => {
                let begin = head? + 1;
                let length = begin + self.rest[begin..].iter().position(|byte| *byte == b':')?;
                let count: usize = std::str::from_utf8(&self.rest[begin..length]).ok()?.parse().ok()?;
                let end = length + 1 + count;
                if self.rest.len() < end {
                    return None;
                }
                let keys = self.rest[length + 1..end].to_vec();
                self.rest.drain(..end);
                Some(Frame::Keys(keys))
            }
            b'1' => {
                let text = String::from_utf8_lossy(&self.rest).into_owned();
                let mut parts = text.splitn(4, ':').skip(1);
                let (columns, rows, rest) = (parts.next()?, parts.next()?, parts.next()?);
                self.rest = rest.as_bytes().to_vec();
                Some(Frame::Size(columns.parse().ok()?, rows.parse().ok()?))
            }
            // Whoever speaks otherwise is not understood.
            _ => {
                self.rest.clear();
                None
            }
        }
    }
}

enum Frame {
    Keys(Vec<u8>),
    Size(u16, u16),
    Alive,
}

impl Peer for Terminal {
    fn hear(&mut self, bytes: &[u8]) -> (Vec<u8>, Heard) {
        self.rest.extend_from_slice(bytes);
        let mut said = Vec::new();
        if matches!(self.stage, Stage::Door) {
            let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else { return (said, Heard::GoesOn) };
            let shown: Vec<u8> = self.rest.drain(..=end).collect();
            if shown.strip_suffix(b"\n") != Some(self.word.as_bytes()) {
                return (said, Heard::Over);
            }
            self.stage = Stage::Inside;
            said.extend(b"OK");
            if let Some(off) = &self.off {
                said.extend(off.bytes());
                return (said, Heard::Over);
            }
            said.extend(self.prompt().bytes());
        }
        while let Some(frame) = self.frame() {
            match frame {
                Frame::Size(columns, rows) => self.size = (columns, rows),
                Frame::Alive => {}
                Frame::Keys(keys) => {
                    for key in keys {
                        if self.key(key, &mut said) == Heard::Over {
                            return (said, Heard::Over);
                        }
                    }
                }
            }
        }
        (said, Heard::GoesOn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_any_pieces() {
        let whole = b"u:t\n1:132:50:0:9:stty size20:1:\r0:4:exit0:1:\r";
        for size in [1, 2, 3, 7, whole.len()] {
            let mut terminal = Terminal::new("u:t".into(), "web".into(), None);
            let (mut said, mut over) = (Vec::new(), false);
            for piece in whole.chunks(size) {
                let (more, heard) = terminal.hear(piece);
                said.extend(more);
                over = heard == Heard::Over;
            }
            let said = String::from_utf8(said).unwrap();
            assert!(over && said.starts_with("OKroot@web:~# ") && said.contains("50 132\r\n"), "{size}: {said}");
        }
        let mut terminal = Terminal::new("u:t".into(), "web".into(), None);
        assert_eq!(terminal.hear(b"u:x\n"), (Vec::new(), Heard::Over));
    }
}
