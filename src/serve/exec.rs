//! Commands that the owner of this host allows to be run on it by name.
//!
//! Without a shell, with an environment of their own and for a limited time; who may, and what is written down about it,
//! is decided elsewhere.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, task};

use crate::model::{Class, Error, Ran, Result};

/// How much is kept of what a command says, on each of its outputs.
const LONGEST: u64 = 256 * 1024;

/// How long its outputs may stay open after it has ended.
const GRACE: Duration = Duration::from_secs(1);

/// How long a command may run unless somebody says otherwise, and how long at most.
pub(super) const TIMEOUT: u64 = 30;
pub(super) const LONGEST_TIMEOUT: u64 = 3600;

/// What a command finds in its environment.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// The commands, by name.
#[derive(Debug, Clone, Default)]
pub struct AllowList(BTreeMap<String, PathBuf>);

impl AllowList {
    /// Reads entries as they are given: `NAME=/path`.
    ///
    /// # Errors
    /// [`Class::Usage`] for what is no such entry, and for a path that is no program.
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Self> {
        let mut all = BTreeMap::new();
        for entry in entries {
            let bad = |why: &str| Error::usage(format!("--allow-exec `{entry}`: {why}"));
            let (name, path) = entry.split_once('=').ok_or_else(|| bad("NAME=/path is expected"))?;
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(is_plain) {
                return Err(bad("a name has letters, digits, `-`, `_` and `.`"));
            }
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(bad("the path has to begin with /"));
            }
            if !path.is_file() {
                return Err(bad("there is no such file"));
            }
            if all.insert(name.to_owned(), path.to_owned()).is_some() {
                return Err(bad("the name is there already"));
            }
        }
        Ok(Self(all))
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Where one is.
    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }
}

/// Runs a program with these arguments, for so long at most.
pub(super) async fn run(path: &Path, args: &[String], timeout: Duration) -> Result<Ran> {
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Class::Failed, format!("{what} {}", path.display())).with_source(error)
    };
    let begun = Instant::now();
    let mut child = {
        use std::os::unix::process::CommandExt as _;
        std::process::Command::new(path)
            .args(args)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // With all that it begins, so that all of it can be ended.
            .process_group(0)
            .spawn()
            .map_err(|error| failed("cannot run", error))?
    };
    let leader = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = stdout.map(|pipe| task::spawn(read(pipe.into())));
    let stderr = stderr.map(|pipe| task::spawn(read(pipe.into())));
    // It stays a zombie until it was killed with its group, so that its number is nobody else's meanwhile.
    let mut ended = task::spawn_blocking(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(leader), options), Err(rustix::io::Errno::INTR)) {}
    });
    let timed_out = tokio::time::timeout(timeout, &mut ended).await.is_err();
    // Nothing that it began stays behind.
    let _ = kill_process_group(leader, Signal::KILL);
    if timed_out {
        let _ = ended.await;
    }
    let status: ExitStatus = child.wait().map_err(|error| failed("cannot wait for", error))?;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ((stdout, more_out), (stderr, more_err)) = (collected(stdout).await, collected(stderr).await);
    let (exit_code, signal) = if timed_out { (None, None) } else { (status.code(), status.signal()) };
    Ok(Ran { exit_code, signal, timed_out, stdout, stderr, truncated: more_out || more_err, duration_ms })
}

/// The beginning of an output, and whether there was more.
type Said = std::io::Result<(Vec<u8>, bool)>;

/// Reads one output to its end; only the beginning is kept.
async fn read(pipe: std::os::fd::OwnedFd) -> Said {
    let mut pipe = Receiver::from_owned_fd(pipe)?;
    let mut kept = Vec::new();
    (&mut pipe).take(LONGEST).read_to_end(&mut kept).await?;
    let more = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await? > 0;
    Ok((kept, more))
}

/// What was read of an output. Somebody who left the group may hold it open, and is not waited for.
async fn collected(reader: Option<task::JoinHandle<Said>>) -> (Vec<u8>, bool) {
    let Some(mut reader) = reader else { return (Vec::new(), false) };
    match tokio::time::timeout(GRACE, &mut reader).await {
        Ok(Ok(Ok(said))) => said,
        Ok(_) => (Vec::new(), false),
        Err(_) => {
            reader.abort();
            (Vec::new(), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_a_file_with_a_name() {
        let named = AllowList::parse(["say=/bin/echo"]).unwrap();
        assert_eq!(named.path("say"), Some(Path::new("/bin/echo")));
        assert_eq!(named.path("/bin/echo"), None);
        for bad in ["echo", "=/bin/echo", "a b=/bin/echo", "say=echo", "say=/nowhere/at/all", "say=/bin"] {
            assert_eq!(AllowList::parse([bad]).unwrap_err().class(), Class::Usage, "{bad}");
        }
        assert!(AllowList::parse(["a=/bin/echo", "a=/bin/sh"]).is_err());
    }

    #[tokio::test]
    async fn a_command_says_what_it_says_and_ends_with_all_it_began() {
        let sh = |script: &str| vec!["-c".to_owned(), script.to_owned()];
        let long = Duration::from_secs(60);
        let ran = run(Path::new("/bin/sh"), &sh("echo \"$0 $HOME\"; echo no >&2; exit 3"), long).await.unwrap();
        assert_eq!(
            (ran.exit_code, ran.stdout.as_slice(), ran.stderr.as_slice()),
            (Some(3), &b"/bin/sh \n"[..], &b"no\n"[..])
        );
        // Byte for byte.
        let ran = run(Path::new("/bin/sh"), &sh(r"printf '\377\000\n'; printf '\200' >&2"), long).await.unwrap();
        assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"\xff\0\n"[..], &b"\x80"[..]));
        let ran = run(Path::new("/bin/sh"), &sh("head -c 300000 /dev/zero"), long).await.unwrap();
        assert_eq!((ran.stdout.len() as u64, ran.truncated), (LONGEST, true));
        // It goes, and what it left in the background does too.
        let ran = run(Path::new("/bin/sh"), &sh("sleep 1000 & echo gone"), long).await.unwrap();
        assert_eq!((ran.exit_code, ran.stdout.as_slice()), (Some(0), &b"gone\n"[..]));
        let ran = run(Path::new("/bin/sh"), &sh("sleep 1000"), Duration::from_millis(200)).await.unwrap();
        assert_eq!((ran.exit_code, ran.timed_out), (None, true));
        let ran = run(Path::new("/bin/sh"), &sh("kill -TERM $$"), long).await.unwrap();
        assert_eq!((ran.exit_code, ran.signal, ran.timed_out), (None, Some(15), false));
        assert!(run(Path::new("/nowhere"), &[], long).await.is_err());
    }
}
