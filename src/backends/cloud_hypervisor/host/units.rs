//! The systemd unit that starts this host's VMs with it and shuts them down before it goes.
//!
//! One unit for all VMs, as on Proxmox: in which order they come is in their own configuration, and what the unit runs
//! reads it there. Only the file is made here; who wants to be started is the caller's to know.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{at, hint};
use crate::model::{Class, Error, Result};

/// The unit's name.
pub const NAME: &str = "pvectl-guests.service";

/// Where systemd looks for a unit, and what the unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// `/etc/systemd/system`, or a user's `~/.config/systemd/user`.
    pub directory: PathBuf,
    /// Whether it is a user's own systemd.
    pub user: bool,
    /// The executable of `pvectl`, by its path.
    pub executable: PathBuf,
    /// What it needs of the environment.
    pub environment: Vec<(String, String)>,
}

impl Units {
    fn file(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// The link by which systemd wants the unit at its start: what `systemctl enable` makes.
    fn link(&self) -> PathBuf {
        let target = if self.user { "default.target.wants" } else { "multi-user.target.wants" };
        self.directory.join(target).join(NAME)
    }

    /// The unit's text.
    fn text(&self) -> String {
        let program = quoted(&self.executable.to_string_lossy());
        let environment = environment_lines(&self.environment);
        // A user's systemd does not know the host's targets.
        let order =
            if self.user { "" } else { "Wants=network-online.target\nAfter=network-online.target local-fs.target\n" };
        let wanted = if self.user { "default.target" } else { "multi-user.target" };
        // A VM that does not start must not take the others with it: then the unit counts as started all the same, and
        // nothing but the command itself is ever killed.
        format!(
            "# Made by pvectl for VMs with onboot=1; it goes when no VM has it.\n\
             [Unit]\n\
             Description=Virtual machines of pvectl\n\
             {order}\n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             KillMode=process\n\
             TimeoutSec=infinity\n\
             {environment}\
             ExecStart=-{program} --context local host start-all\n\
             ExecStop=-{program} --context local host stop-all --confirm\n\
             \n\
             [Install]\n\
             WantedBy={wanted}\n"
        )
    }

    /// Makes the unit, or brings it up to date, and has systemd start it with the host. Says whether something changed.
    ///
    /// # Errors
    /// [`Class::Forbidden`] without the right to; [`Class::Conflict`] for a unit of that name that pvectl has not made.
    pub fn enable(&self) -> Result<bool> {
        let (file, link, text) = (self.file(), self.link(), self.text());
        match self.there()? {
            Some(there) if there == text && link.is_symlink() => return Ok(false),
            _ => {}
        }
        for folder in [Some(self.directory.as_path()), link.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).map_err(|error| at("make the directory", folder, error))?;
        }
        let half = file.with_extension("service.tmp");
        fs::write(&half, text).map_err(|error| at("write", &half, error))?;
        fs::rename(&half, &file).map_err(|error| at("write", &file, error))?;
        match symlink(&file, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("make the link", &link, error));
            }
            _ => {}
        }
        self.reload()?;
        Ok(true)
    }

    /// Takes the unit away. Says whether there was one.
    ///
    /// # Errors
    /// As [`enable`](Self::enable).
    pub fn disable(&self) -> Result<bool> {
        if self.there()?.is_none() {
            return Ok(false);
        }
        for path in [self.link(), self.file()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("remove", &path, error)),
                _ => {}
            }
        }
        self.reload()?;
        Ok(true)
    }

    /// The unit as it is, if there is one.
    fn there(&self) -> Result<Option<String>> {
        let file = self.file();
        match fs::read_to_string(&file) {
            Ok(text) if text.starts_with("# Made by pvectl") => Ok(Some(text)),
            Ok(_) => Err(Error::conflict(format!("`{}` was not made by pvectl, and is left alone", file.display()))
                .with_hint(hint("rename it, then set onboot again"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &file, error)),
        }
    }

    /// Has a running systemd read its units again.
    fn reload(&self) -> Result<()> {
        if !runs() {
            return Ok(());
        }
        let mut command = Command::new("systemctl");
        command.args(self.user.then_some("--user")).arg("daemon-reload").stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().map_err(|error| at("run", Path::new("systemctl"), error))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Error::new(Class::Failed, format!("systemctl daemon-reload: {said}")))
            }
        }
    }
}

/// Whether systemd runs this host.
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The lines that give a unit's command its environment.
pub fn environment_lines(environment: &[(String, String)]) -> String {
    environment.iter().map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}")))).collect()
}

/// A word as systemd reads it: quoted, with `%` and `$` for themselves.
pub fn quoted(word: &str) -> String {
    let escaped: String = word
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            '%' | '$' => vec![c, c],
            '\n' => vec!['\\', 'n'],
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(directory: &Path) -> Units {
        Units {
            directory: directory.to_owned(),
            user: false,
            executable: "/opt/a b/pvectl".into(),
            environment: vec![
                ("HOME".to_owned(), "/root".to_owned()),
                ("XDG_STATE_HOME".to_owned(), "/100%".to_owned()),
            ],
        }
    }

    #[test]
    fn a_unit_is_made_kept_and_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let units = units(folder.path());
        assert!(units.enable().unwrap());
        assert!(!units.enable().unwrap(), "it is there");
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(text.contains("ExecStart=-\"/opt/a b/pvectl\" --context local host start-all\n"), "{text}");
        assert!(text.contains("Environment=\"HOME=/root\"\nEnvironment=\"XDG_STATE_HOME=/100%%\"\n"), "{text}");
        let link = folder.path().join("multi-user.target.wants").join(NAME);
        assert_eq!(fs::read_link(&link).unwrap(), folder.path().join(NAME));
        // Another place of the executable: it is brought up to date.
        assert!(Units { executable: "/usr/bin/pvectl".into(), ..units.clone() }.enable().unwrap());
        assert!(units.disable().unwrap());
        assert!(!units.disable().unwrap());
        assert!(!link.is_symlink());
    }

    #[test]
    fn a_unit_of_somebody_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "[Unit]\n").unwrap();
        let units = units(folder.path());
        for refused in [units.enable(), units.disable()] {
            assert_eq!(refused.unwrap_err().class(), Class::Conflict);
        }
    }
}
