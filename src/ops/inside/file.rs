//! Files in a guest: read whole, slice by slice, and written, piece by piece where one call takes no more.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{FILE_WRITE, agent};
use crate::{
    backends::{Action, agent::explain},
    model::{Class, Error, Guest, GuestKind, Hint, JOIN_PIECES, Method, Params, Result, WRITTEN_AT_ONCE},
    ops::{Ops, Plan, Resolved},
};

/// Where pieces lie until they are put together.
const ROOM: &str = "/tmp/pvectl-";

/// A directory in a guest for pieces. Nobody can guess its name, and it is made as one that is not there yet.
pub(super) fn room() -> String {
    format!("{ROOM}{:016x}", RandomState::new().build_hasher().finish())
}

/// Makes it.
pub(super) fn make_room(room: &str) -> Params {
    command(&["mkdir", "-m", "700", room])
}

/// Takes it away.
pub(super) fn leave_room(room: &str) -> Params {
    command(&["rm", "-rf", room])
}

/// A program and its arguments.
pub(super) fn command(words: &[&str]) -> Params {
    words.iter().map(|word| ("command", *word)).collect()
}

/// A file's content as one call writes it.
fn written(path: &str, content: &[u8]) -> Params {
    Params::new().with("file", path).with("content", STANDARD.encode(content)).with("encode", 0)
}

/// The calls that write the pieces of something.
pub(super) fn pieces(room: &str, content: &[u8]) -> Vec<(Action, Params)> {
    let pieces = content.chunks(WRITTEN_AT_ONCE).enumerate();
    pieces.map(|(at, piece)| (Action::AgentWrite, written(&format!("{room}/{at:06}"), piece))).collect()
}

impl Ops {
    /// Plans to write a file in a VM. What is larger than one call takes goes there in pieces, which a shell in the guest
    /// puts together.
    ///
    /// # Errors
    /// [`Class::Usage`] for guests that have no agent.
    pub fn plan_file_write(&self, found: &Resolved, path: &str, content: &[u8]) -> Result<Plan> {
        if content.len() <= WRITTEN_AT_ONCE {
            return self.plan_inside(FILE_WRITE, Action::AgentWrite, found, written(path, content));
        }
        let room = room();
        let mut steps = vec![(Action::AgentExec, make_room(&room))];
        steps.extend(pieces(&room, content));
        steps.push((Action::AgentExec, command(&["sh", "-c", JOIN_PIECES, "pvectl", &room, path])));
        let mut plan = self.plan_steps_inside(FILE_WRITE, found, steps)?;
        let count = content.len().div_ceil(WRITTEN_AT_ONCE);
        plan.notes.push(format!(
            "{} bytes go in {count} pieces through {room} in the guest, where sh, mkdir, cat and rm put them together",
            content.len()
        ));
        Ok(plan)
    }

    /// Reads a file of a VM, and hands it over slice by slice. `take` says whether more is wanted. What comes back is how
    /// many bytes there were, and whether there are more that this server cannot give.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a file that is not there; what the server says, with what can be done about it.
    pub async fn read_file(
        &self,
        guest: &Guest,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) -> Result<bool> + Send),
    ) -> Result<(u64, bool)> {
        self.require_agent(guest)?;
        let mut read = 0_u64;
        loop {
            let mut params = Params::new().with("file", path).with("decode", 0);
            if read > 0 {
                params.push("offset", read);
            }
            let call = agent(Method::Get, &guest.reference(), "file-read", params);
            let data = match self.backend().send(&call).await {
                Ok(reply) => reply.data,
                // A server before 9.1 has no offset, and gives only what one answer holds.
                Err(error) if read > 0 && error.class() == Class::Rejected => return Ok((read, true)),
                Err(error) => return Err(unreadable(error, guest, path)),
            };
            let bytes = decoded(data["content"].as_str().unwrap_or_default())?;
            read += bytes.len() as u64;
            let more = data["truncated"].as_bool().unwrap_or_else(|| data["truncated"].as_i64().unwrap_or(0) != 0);
            if !take(&bytes)? || !more || bytes.is_empty() {
                return Ok((read, false));
            }
        }
    }
}

fn unreadable(error: Error, guest: &Guest, path: &str) -> Error {
    let missing = error.message().to_ascii_lowercase().contains("no such file");
    let error = explain(error, guest.vmid);
    let error = if missing && guest.kind == GuestKind::Qemu { error.with_class(Class::NotFound) } else { error };
    let error = error.context(format_args!("cannot read {path} in {}", guest.reference()));
    if missing {
        error.with_hint(Hint::Text("a path in the guest is a whole one: /etc/hostname".into()))
    } else {
        error
    }
}

/// The server puts what it reads together from slices, each encoded for itself, so that padding stands in the middle too.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let clean: String = text.chars().filter(|sign| !sign.is_ascii_whitespace()).collect();
    let mut rest = clean.as_str();
    while !rest.is_empty() {
        let end =
            rest.find('=').map_or(rest.len(), |at| at + rest[at..].bytes().take_while(|byte| *byte == b'=').count());
        let slice = STANDARD.decode(&rest[..end]).map_err(|error| {
            Error::new(Class::Failed, "the server's answer is not encoded as it says").with_source(error)
        })?;
        bytes.extend(slice);
        rest = &rest[end..];
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_with_padding_between_them_are_one_file() {
        let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for size in [1, 2, 3, 1024, 5000] {
            let text: String = all.chunks(size).map(|slice| STANDARD.encode(slice)).collect();
            assert_eq!(decoded(&text).unwrap(), all, "{size}");
        }
        assert_eq!(decoded("").unwrap(), b"");
        assert!(decoded("====").is_err() && decoded("a").is_err());
    }

    #[test]
    fn a_piece_is_what_the_server_takes() {
        let content = vec![255; WRITTEN_AT_ONCE * 2 + 1];
        let pieces = pieces("/tmp/x", &content);
        assert_eq!(pieces.len(), 3);
        let longest = pieces.iter().filter_map(|(_, params)| params.get("content").map(str::len)).max();
        assert_eq!(longest, Some(61_440));
        assert_eq!(pieces[2].1.get("file"), Some("/tmp/x/000002"));
    }

    #[test]
    fn a_real_shell_puts_pieces_together() {
        let directory = tempfile::tempdir().unwrap();
        let (room, whole) = (directory.path().join("room"), directory.path().join("a file"));
        let fill = || {
            std::fs::create_dir(&room).unwrap();
            for at in 0..12 {
                std::fs::write(room.join(format!("{at:06}")), format!("piece {at}\n")).unwrap();
            }
        };
        let all: String = (0..12).map(|at| format!("piece {at}\n")).collect();
        let sh = |words: &[&std::ffi::OsStr]| std::process::Command::new("sh").arg("-c").args(words).output().unwrap();
        fill();
        let joined = sh(&[JOIN_PIECES.as_ref(), "pvectl".as_ref(), room.as_os_str(), whole.as_os_str()]);
        assert!(joined.status.success(), "{joined:?}");
        assert_eq!(std::fs::read_to_string(&whole).unwrap(), all);
        assert!(!room.exists());
        // Where it cannot be written, nothing is left lying about either.
        fill();
        let nowhere = directory.path().join("no/where");
        let failed = sh(&[JOIN_PIECES.as_ref(), "pvectl".as_ref(), room.as_os_str(), nowhere.as_os_str()]);
        assert!(!failed.status.success() && !room.exists(), "{failed:?}");
        // The same as the input of a program, whose code is that of the whole.
        fill();
        let script = "test ! -d \"$0\" && cat && exit 7";
        let words = [
            crate::model::RUN_WITH_PIECES.as_ref(),
            "pvectl".as_ref(),
            room.as_os_str(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            room.as_os_str(),
        ];
        let ran = sh(&words);
        assert_eq!((ran.status.code(), String::from_utf8(ran.stdout).unwrap()), (Some(7), all));
    }
}
