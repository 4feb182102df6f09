//! The command line: parses, asks, shows, and leaves all work to the library.
//!
//! Nobody imports it. What a verb does is in `ops`; how things look is here.

mod app;
mod ask;
mod backup;
mod base;
mod commands;
mod complete;
mod cx;
mod description;
mod error;
mod kinds;
#[cfg(target_os = "linux")]
mod local;
mod meter;
mod print;
mod progress;
mod reconcile;
mod resource;
mod rules;
mod server;
mod session;
mod terminal;
mod trust;
mod ui;
mod verb;

use std::{ffi::OsString, process::ExitCode};

use clap::{
    ArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::{base::UnknownFlag, cx::Cx, error::report, verb::Exit};
use crate::{
    config::Env,
    model::{Class, Error, Hint, Result},
};

/// Runs a command line in an environment and gives its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>, env: Env) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(shell) = env.get(complete::VARIABLE) {
        return ExitCode::from(complete::main(shell, &args, &env));
    }
    let matches = match app::command_for(&args).try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(refused) => {
            let mut app = match is_help(&refused) {
                true => app::outline_for(&args),
                false => app::command(),
            };
            match app.try_get_matches_from_mut(&args) {
                Ok(matches) => matches,
                Err(error) => return ExitCode::from(not_parsed(error, app, &args, &env)),
            }
        }
    };
    let cx = Cx::new(env, &matches);
    start_tracing(&cx);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&cx.ui, cx.error_format(), &Error::new(Class::Failed, "cannot start").with_source(error));
            return ExitCode::from(Class::Failed.exit_code());
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            // Whoever minds an interrupt must not be overtaken by one, so it is listened to before anything else.
            biased;
            code = interrupted(&cx) => code,
            ended = run(&cx, &matches) => ended.unwrap_or_else(|error| {
                report(&cx.ui, cx.error_format(), &error);
                error.class().exit_code()
            }),
        }
    });
    // A blocked thread (a name being resolved) must not hold up the end of the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The first Ctrl-C is a wish that the command honours, the second leaves at once.
async fn interrupted(cx: &Cx) -> Exit {
    loop {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the default applies, and this future must never end.
            std::future::pending::<()>().await;
        }
        if cx.interrupt.is_raised() || !cx.interrupt.is_minded() {
            return Class::Interrupted.exit_code();
        }
        cx.interrupt.raise();
    }
}

/// Runs the command, and once more if it failed on a certificate that a person then trusts: nothing was sent before.
async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    match dispatch(cx, matches).await {
        Err(error) if trust::pin_after_failure(cx, &error)? => dispatch(cx, matches).await,
        ended => ended,
    }
}

async fn dispatch(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let Some((word, matches)) = matches.subcommand() else { return Ok(Class::Usage.exit_code()) };
    if let Some(command) = commands::COMMANDS.iter().find(|command| command.name == word) {
        return (command.run)(cx, matches).await;
    }
    let missing = || Error::new(Class::Bug, format!("`{word}` has a parser and no action"));
    let kind = kinds::KINDS.iter().find(|kind| kind.is_called(word)).ok_or_else(missing)?;
    let (name, matches) = matches.subcommand().ok_or_else(missing)?;
    kind.refuse_labels(matches)?;
    kind.verb(name).ok_or_else(missing)?.run(cx, kind, matches).await
}

/// Whether it is no mistake, or one that help answers.
fn is_help(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Help and version go to stdout; mistakes to stderr, as JSON where that is asked for.
fn not_parsed(mut error: clap::Error, mut app: clap::Command, args: &[OsString], env: &Env) -> Exit {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let ui = ui::Ui::new(env, "auto", false);
    if wanted {
        let text = match error.kind() {
            ErrorKind::DisplayHelp => app::help(&mut app, args.iter().any(|arg| arg == "--help")),
            _ => error.render(),
        };
        // A reader that went away is no error.
        let _ = ui.data(|out| write!(out, "{}", text.ansi()));
        return 0;
    }
    let as_json = args.windows(2).any(|pair| pair[0] == "--error-format" && pair[1] == "json")
        || args.iter().any(|arg| arg == "--error-format=json");
    let flag = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => flag.strip_prefix("--"),
        _ => None,
    };
    let unknown = flag.and_then(|flag| app::typed(&mut app, |command| UnknownFlag::new(flag, command)));
    if unknown.as_ref().is_some_and(|unknown| unknown.is_known) {
        // What it takes for meant, and how that would be typed.
        let _ = (error.remove(ContextKind::SuggestedArg), error.remove(ContextKind::Usage));
    }
    let elsewhere = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => command_of_its_own(word, &app),
        _ => None,
    };
    if elsewhere.is_some() {
        let _ = (error.remove(ContextKind::SuggestedSubcommand), error.remove(ContextKind::Suggested));
    }
    let hint = unknown.map(|unknown| unknown.hint).or(elsewhere);
    if as_json {
        let text = error.render().to_string();
        let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().to_owned();
        let error = Error::usage(message).did_you_mean(suggested(&error));
        let error = hint.into_iter().fold(error, |error, hint| error.with_hint(Hint::Text(hint)));
        report(&ui, error::ErrorFormat::Json, &error);
    } else {
        ui.err_line(error.render().ansi().to_string().trim_end());
        hint.iter().for_each(|hint| ui.err_line(format_args!("\nhint: {hint}")));
    }
    Class::Usage.exit_code()
}

/// What to say of a word that is no verb of a kind, and a command: `vm firewall`.
fn command_of_its_own(word: &str, app: &clap::Command) -> Option<String> {
    let is_called =
        |command: &clap::Command| command.get_name() == word || command.get_all_aliases().any(|alias| alias == word);
    app.get_subcommands().any(is_called).then(|| format!("it is a command of its own: pvectl {word} --help"))
}

/// What clap takes for meant, which it tells people in words of its own.
fn suggested(error: &clap::Error) -> Vec<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let words = kinds.into_iter().filter_map(|kind| error.get(kind)).flat_map(|value| match value {
        ContextValue::String(word) => std::slice::from_ref(word),
        ContextValue::Strings(words) => words,
        _ => &[],
    });
    words.cloned().collect()
}

/// `-v` requests, `-vv` headers, `-vvv` bodies; `PVECTL_LOG` says it finer.
fn start_tracing(cx: &Cx) {
    let level = match cx.switches.verbose {
        0 => None,
        1 => Some("pvectl=info"),
        2 => Some("pvectl=debug"),
        _ => Some("pvectl=trace"),
    };
    let Some(filter) = cx.env.get("PVECTL_LOG").or(level) else { return };
    let ui = cx.ui.clone();
    // Only one subscriber is ever set, so there is nothing to fail here.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .with_writer(move || ui::Log(ui.clone()))
        .try_init();
}
