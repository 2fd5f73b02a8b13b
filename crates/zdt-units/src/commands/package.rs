//! What a package ships beside the program: schema, completions, manual pages.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failed, print};
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::config::keys;
use crate::exit_code;

pub(super) fn schema() -> Result<u8, Failed> {
    let mut text = serde_json::to_string_pretty(&keys::schema()).expect("a schema is JSON");
    text.push('\n');
    print(&text)?;
    Ok(exit_code::DONE)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Failed> {
    print(&script(args.shell))?;
    Ok(exit_code::DONE)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "zdt-units", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// One page for the program and one for each command.
pub(super) fn man(args: &ManArgs) -> Result<u8, Failed> {
    let Some(directory) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .expect("a Vec takes whatever is written to it");
        print(&String::from_utf8_lossy(&page))?;
        return Ok(exit_code::DONE);
    };
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written.map_err(|source| failed(directory, &source))?;
    Ok(exit_code::DONE)
}

fn failed(directory: &Path, source: &std::io::Error) -> Failed {
    Failed::unexpected(format!(
        "failed to write manual pages to `{}`: {source}",
        directory.display()
    ))
}
