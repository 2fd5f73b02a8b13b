//! A play of the role, and what it says.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use zdt_e2e::machine::{self, Machine, Output, Reason, Running};

const DIRECTORY: &str = "/root/play";

/// A playbook with an inventory of one host, which is the machine itself.
pub(crate) struct Play<'a> {
    machine: &'a Machine,
}

/// What one run of `ansible-playbook` said.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) text: String,
    /// Names of the tasks that changed something, in their order.
    pub(crate) changed: Vec<String>,
    output: Output,
}

const INVENTORY: &str = r#"
web:
  hosts:
    here:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
  vars:
    zdt_units_src: "{{ inventory_dir }}/zdt-units"
    zdt_toml_src: zdt.toml.j2
balancer:
  hosts:
    here:
"#;

/// A playbook of the whole role, or of a part of it.
fn book(tasks: &str) -> String {
    format!(
        "
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: zdt
        tasks_from: {tasks}
"
    )
}

impl<'a> Play<'a> {
    pub(crate) fn new(machine: &'a Machine, config: &str) -> Result<Self, Box<dyn Error>> {
        needs_ansible(machine)?;
        let play = Self { machine };
        play.file("inventory.yml", INVENTORY)?;
        for tasks in [
            "main",
            "install",
            "configure",
            "deploy",
            "roll_back",
            "plain",
        ] {
            play.file(&format!("{tasks}.yml"), &book(tasks))?;
        }
        play.file("zdt.toml.j2", config)?;
        play.file("vars.json", "{}")?;
        // Without what debuggers need it is as large as one that people install.
        let copy = format!("strip -o {DIRECTORY}/zdt-units /opt/zdt/bin/units");
        machine.run(&["sh", "-ec", &copy])?.ok()?;
        Ok(play)
    }

    /// Writes a file beside the playbook.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<(), machine::Error> {
        self.machine
            .write_file(&format!("{DIRECTORY}/{name}"), text, 0o644)
    }

    /// Makes the test's app a release, and the one that is wanted.
    pub(crate) fn release(&self, name: &str) -> Result<(), machine::Error> {
        let script = format!(
            "mkdir -p {DIRECTORY}/{name}/bin && strip -o {DIRECTORY}/{name}/bin/app /opt/zdt/bin/app"
        );
        self.machine.run(&["sh", "-ec", &script])?.ok()?;
        self.want(name)
    }

    pub(crate) fn want(&self, name: &str) -> Result<(), machine::Error> {
        let wanted = format!(
            "{{\"zdt_releases\": [{{\"service\": \"app\", \"release\": \"{name}\", \"src\": \"{name}\"}}]}}"
        );
        self.file("vars.json", &wanted)
    }

    /// Runs `book`, with its output told where it fails.
    pub(crate) fn run(&self, book: &str, arguments: &[&str]) -> Result<Played, Box<dyn Error>> {
        let argv = argv(book, arguments);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        Ok(Played::new(self.machine.run(&argv)?))
    }

    /// Begins to run `book`.
    pub(crate) fn start(&self, book: &str) -> Result<Running, Box<dyn Error>> {
        let argv = argv(book, &[]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut command = self.machine.command(&argv);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Running(command.spawn()?))
    }
}

fn argv(book: &str, arguments: &[&str]) -> Vec<String> {
    let program = program("ansible-playbook");
    let roles = format!("ANSIBLE_ROLES_PATH={}", example("roles").display());
    let own = [
        "env",
        "--chdir",
        DIRECTORY,
        "HOME=/root",
        "ANSIBLE_NOCOLOR=1",
        "ANSIBLE_PIPELINING=1",
        &roles,
        &program.to_string_lossy(),
        "--inventory=inventory.yml",
        "--extra-vars=@vars.json",
        book,
    ];
    [&own, arguments]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

impl Played {
    fn new(output: Output) -> Self {
        let mut task = String::new();
        let mut changed = Vec::new();
        for line in output.stdout.lines() {
            let headings = ["TASK [", "RUNNING HANDLER ["];
            let name = headings
                .iter()
                .find_map(|heading| line.strip_prefix(heading));
            if let Some(name) = name {
                name.split(']')
                    .next()
                    .unwrap_or_default()
                    .clone_into(&mut task);
            }
            if line.starts_with("changed: [") {
                changed.push(task.trim_start_matches("zdt : ").to_owned());
            }
        }
        Self {
            text: format!("{}{}", output.stdout, output.stderr),
            changed,
            output,
        }
    }

    pub(crate) fn ok(self) -> Result<Self, machine::Error> {
        match self.output.success() {
            true => Ok(self),
            false => Err(machine::Error::Failed(Box::new(self.output))),
        }
    }

    /// The play came to its end, and changed exactly this.
    pub(crate) fn changes(self, tasks: &[&str]) -> Result<Self, machine::Error> {
        let played = self.ok()?;
        assert_eq!(played.changed, tasks, "{}", played.text);
        Ok(played)
    }

    /// The play failed, and said all of `words`.
    pub(crate) fn failed_with(&self, words: &[&str]) {
        assert_eq!(self.output.code, Some(2), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "{word}\n{}", self.text);
        }
    }
}

/// A program of the virtual environment that `.ci/run` makes.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/ansible/bin"
    ))
    .join(name)
}

pub(crate) fn needs_ansible(machine: &Machine) -> Result<(), machine::Error> {
    let program = program("ansible-playbook");
    match machine
        .run(&["test", "-x", &program.to_string_lossy()])?
        .success()
    {
        true => Ok(()),
        false => Err(machine::Error::Unavailable(Reason::File("target/ansible"))),
    }
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/ansible")).join(name)
}

/// Everything where a play of the role writes, with times and sizes. Not all of the disk: it is an overlay of the
/// host's, on which others may be at work.
pub(crate) fn disk(machine: &Machine) -> Result<String, machine::Error> {
    let script = "for path in /etc /usr/local /var/tmp /var/lib/zdt /var/log/zdt /srv/app /srv/sites; do \
                  [ ! -e $path ] || find $path -xdev -printf '%p %y %m %T@ %s\\n'; done | sort";
    Ok(machine.run(&["sh", "-ec", script])?.ok()?.stdout)
}
