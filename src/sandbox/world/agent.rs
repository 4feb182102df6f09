//! The agent in a simulated VM: a few files, and a table of programs that it can run.
//!
//! `docs/guide/inside-guests.md` lists the programs. Nothing of this host is read, written or run.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{Millis, guest::Guest};
use crate::model::{JOIN_PIECES, RUN_WITH_PIECES};

/// What a guest's description has in it whose agent does not answer.
pub(crate) const SILENT: &str = "sandbox: no agent";

/// How many programs that are over are remembered.
const KEPT: usize = 16;

/// What the agent of a VM knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) frozen: bool,
    /// Files and directories; these end with `/`. The contents are base64.
    files: BTreeMap<String, String>,
    programs: BTreeMap<i64, Program>,
    next: i64,
}

/// A program that was begun.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// When it is over.
    pub(crate) end: Millis,
    pub(crate) code: i64,
    pub(crate) signal: Option<i64>,
    out: String,
    err: String,
}

impl Program {
    pub(crate) fn out(&self) -> Vec<u8> {
        STANDARD.decode(&self.out).unwrap_or_default()
    }

    pub(crate) fn err(&self) -> Vec<u8> {
        STANDARD.decode(&self.err).unwrap_or_default()
    }
}

/// What a program did.
#[derive(Default)]
struct Ran {
    code: i64,
    signal: Option<i64>,
    out: Vec<u8>,
    err: Vec<u8>,
    takes: Millis,
}

impl Ran {
    fn says(out: impl Into<Vec<u8>>) -> Self {
        Self { out: out.into(), ..Self::default() }
    }

    fn fails(program: &str, text: &str) -> Self {
        Self { code: 1, err: format!("{program}: {text}\n").into_bytes(), ..Self::default() }
    }
}

impl Agent {
    /// A file, if it is there.
    pub(crate) fn file(&self, guest: &Guest, path: &str) -> Option<Vec<u8>> {
        match (self.files.get(path), path) {
            (Some(content), _) => STANDARD.decode(content).ok(),
            (None, "/etc/hostname") => Some(format!("{}\n", guest.name()).into_bytes()),
            (None, "/etc/os-release") => Some(b"ID=debian\nVERSION_ID=\"12\"\n".to_vec()),
            _ => None,
        }
    }

    /// Writes a file.
    pub(crate) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), &'static str> {
        let directory = path.rfind('/').map_or("", |at| &path[..=at]);
        let there =
            ["/", "/tmp/", "/etc/", "/root/", "/home/"].contains(&directory) || self.files.contains_key(directory);
        if !path.starts_with('/') || !there {
            return Err("No such file or directory");
        }
        if path.ends_with('/') {
            return Err("Is a directory");
        }
        self.files.insert(path.to_owned(), STANDARD.encode(content));
        Ok(())
    }

    /// A program that was begun.
    pub(crate) fn program(&self, pid: i64) -> Option<&Program> {
        self.programs.get(&pid)
    }

    /// Begins a program; `None` where there is none of that name.
    pub(crate) fn begin(&mut self, guest: &Guest, command: &[&str], input: &[u8], now: Millis) -> Option<i64> {
        let ran = self.run(guest, command, input)?;
        self.next += 1;
        let pid = 1000 + self.next;
        let (out, err) = (STANDARD.encode(ran.out), STANDARD.encode(ran.err));
        let program = Program { end: now + ran.takes, code: ran.code, signal: ran.signal, out, err };
        self.programs.insert(pid, program);
        while self.programs.len() > KEPT {
            self.programs.pop_first();
        }
        Some(pid)
    }

    /// The table of programs.
    fn run(&mut self, guest: &Guest, command: &[&str], input: &[u8]) -> Option<Ran> {
        let (program, args) = command.split_first()?;
        Some(match (*program, args) {
            ("true", _) => Ran::default(),
            ("false", _) => Ran { code: 1, ..Ran::default() },
            ("echo", words) => Ran::says(format!("{}\n", words.join(" "))),
            ("hostname", []) => Ran::says(format!("{}\n", guest.name())),
            ("whoami", []) => Ran::says("root\n"),
            ("uname", _) => Ran::says("Linux\n"),
            ("sleep", [seconds]) => Ran {
                takes: seconds.parse::<f64>().map_or(0, |seconds| (seconds * 1000.0) as Millis),
                ..Ran::default()
            },
            ("wc", ["-c"]) => Ran::says(format!("{}\n", input.len())),
            ("head", ["-c", count, "/dev/zero"]) => {
                Ran::says(vec![0; count.parse::<usize>().unwrap_or(0).min(1 << 24)])
            }
            ("cat", []) => Ran::says(input),
            ("cat", files) => self.cat(guest, files),
            ("mkdir", [.., directory]) if self.files.contains_key(&format!("{directory}/")) => {
                Ran::fails("mkdir", &format!("cannot create directory '{directory}': File exists"))
            }
            ("mkdir", [.., directory]) => {
                self.files.insert(format!("{directory}/"), String::new());
                Ran::default()
            }
            ("rm", [.., path]) => {
                self.remove(path);
                Ran::default()
            }
            ("ls", [directory]) => self.list(directory),
            ("sh", ["-c", script, rest @ ..]) => return self.shell(guest, script, rest, input),
            _ => return None,
        })
    }

    fn cat(&self, guest: &Guest, files: &[&str]) -> Ran {
        let mut ran = Ran::default();
        for path in files {
            match self.file(guest, path) {
                Some(content) => ran.out.extend(content),
                None => {
                    ran.code = 1;
                    ran.err.extend(format!("cat: {path}: No such file or directory\n").into_bytes());
                }
            }
        }
        ran
    }

    fn list(&self, directory: &str) -> Ran {
        let below = format!("{}/", directory.trim_end_matches('/'));
        let names = self.files.keys().filter_map(|path| path.strip_prefix(&below)).filter(|name| !name.is_empty());
        Ran::says(names.map(|name| format!("{name}\n")).collect::<String>())
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.files.retain(|have, _| have != path && !have.starts_with(&below));
    }

    /// What the pieces in a directory are together; the directory goes.
    fn join(&mut self, room: &str) -> Option<Vec<u8>> {
        let below = format!("{room}/");
        self.files.get(&below)?;
        let pieces = self.files.iter().filter(|(path, _)| path.starts_with(&below) && !path.ends_with('/'));
        let whole = pieces.filter_map(|(_, content)| STANDARD.decode(content).ok()).collect::<Vec<_>>().concat();
        self.remove(room);
        Some(whole)
    }

    /// A shell that knows two scripts of pvectl's, and of others `exit N`, `kill -N $$`, and programs with `;` between
    /// them, each perhaps with `>&2` behind it.
    fn shell(&mut self, guest: &Guest, script: &str, args: &[&str], input: &[u8]) -> Option<Ran> {
        match (script, args) {
            (JOIN_PIECES, [_, room, path]) => {
                return Some(match self.join(room).map(|whole| self.write(path, &whole)) {
                    Some(Ok(())) => Ran::default(),
                    Some(Err(why)) => Ran { code: 2, ..Ran::fails("sh", &format!("cannot create {path}: {why}")) },
                    None => Ran::fails("cat", &format!("{room}: No such file or directory")),
                });
            }
            (RUN_WITH_PIECES, [_, room, command @ ..]) => {
                let whole = self.join(room)?;
                let missing = || Ran { code: 127, ..Ran::fails("sh", "not found") };
                return Some(self.run(guest, command, &whole).unwrap_or_else(missing));
            }
            _ => {}
        }
        let mut all = Ran::default();
        for part in script.split(';').map(str::trim) {
            let (part, to_err) = part.strip_suffix(">&2").map_or((part, false), |part| (part.trim_end(), true));
            let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
            let ran = match words.as_slice() {
                ["exit", code] => {
                    all.code = code.parse().unwrap_or(2);
                    break;
                }
                ["kill", signal, "$$"] => {
                    all.signal = signal.trim_start_matches('-').parse().ok();
                    break;
                }
                words => self.run(guest, words, input).unwrap_or_else(|| Ran {
                    code: 127,
                    ..Ran::fails("sh", &format!("1: {}: not found", words.first().copied().unwrap_or_default()))
                }),
            };
            all.code = ran.code;
            all.takes += ran.takes;
            if to_err {
                all.err.extend(ran.out);
            } else {
                all.out.extend(ran.out);
            }
            all.err.extend(ran.err);
        }
        Some(all)
    }
}
