//! The real executable against the sandbox, over a socket, in an environment of its own: one file per area.
//!
//! Nothing here looks into the library's insides; what a room does by itself is tested in the room.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on should end there and say so")]

mod api;
mod api_dry_run;
mod api_resources;
mod backups;
mod bulk;
mod carried;
mod changes;
mod checks;
mod cloudinit;
mod cluster_images;
mod completion;
#[cfg(target_os = "linux")]
mod consoles;
mod containers;
mod contexts;
mod contract;
mod copies;
mod data;
mod docs;
#[cfg(target_os = "linux")]
mod enroll;
mod explain;
mod faults;
mod figures;
mod flags;
mod fuzz;
mod ha;
mod harness;
#[cfg(target_os = "linux")]
mod history;
mod host;
mod house;
#[cfg(target_os = "linux")]
mod images;
mod input;
mod inside;
mod journal;
mod keys;
mod kinds;
mod layouts;
mod lists;
#[cfg(target_os = "linux")]
mod local;
#[cfg(target_os = "linux")]
mod local_disks;
#[cfg(target_os = "linux")]
mod local_figures;
mod local_groups;
#[cfg(target_os = "linux")]
mod local_kill;
#[cfg(target_os = "linux")]
mod local_live;
#[cfg(target_os = "linux")]
mod local_network;
#[cfg(target_os = "linux")]
mod local_onboot;
#[cfg(target_os = "linux")]
mod local_shares;
#[cfg(target_os = "linux")]
mod local_snapshots;
#[cfg(target_os = "linux")]
mod local_unused;
#[cfg(target_os = "linux")]
mod local_watch;
mod login;
mod lost;
mod manifests;
mod models;
mod moves;
mod partial;
mod printers;
mod recorded;
mod recovery;
#[cfg(target_os = "linux")]
mod remote;
mod rest;
mod resume;
mod rules;
mod safety;
mod sandbox;
mod secrets;
mod select;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_life;
#[cfg(target_os = "linux")]
mod serve_people;
#[cfg(target_os = "linux")]
mod serve_strangers;
mod snapshots;
mod tasks;
mod trust;
mod typing;
#[cfg(target_os = "linux")]
mod vmm;
mod vms;
mod waiting;
mod watching;
