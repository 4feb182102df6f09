//! What the tests of this room share.

mod file;
mod life;
mod rows;
mod tasks;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::model::{SystemClock, Vmid};

struct Room {
    directory: TempDir,
    state: State,
}

impl Room {
    fn path(&self) -> PathBuf {
        file_in(self.directory.path())
    }

    fn again(&self) -> State {
        open(&self.path()).unwrap()
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("local/local.db")
}

fn open(path: &Path) -> Result<State> {
    State::open(path, NodeName::new("desk").unwrap(), Arc::new(SystemClock))
}

fn room() -> Room {
    let directory = tempfile::tempdir().unwrap();
    let state = open(&file_in(directory.path())).unwrap();
    Room { directory, state }
}

fn config(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A VM that is whole and stopped.
fn made(state: &State, name: &str) -> Vm {
    let (vm, intent) = state.create(NewVm::new(config(&[("name", name)])), Draft::new(Verb::Create)).unwrap();
    settle(state, &vm, Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished));
    state.vm(vm.vmid).unwrap()
}

fn settle(state: &State, vm: &Vm, settle: Settle) {
    state.settle(vm.vmid, &settle).unwrap();
}

fn vmid(number: u32) -> Vmid {
    Vmid::new(number).unwrap()
}
