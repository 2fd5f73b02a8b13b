//! The program as a person or a script meets it: arguments in; output, talk and exit status out.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts the program and looks at its files"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

const SHOP: &str = "[service.shop]\nexec = [\"/bin/true\"]\nlisten = \"0.0.0.0:80\"\n";

/// Runs the program in `directory` and writes down everything that can be seen from outside.
fn transcript(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_zdt-units"))
        .args(arguments)
        .current_dir(directory)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut transcript = format!("$ zdt-units {}\n", arguments.join(" "));
    transcript.push_str(&text(&output.stdout));
    for line in text(&output.stderr).lines() {
        let line = format!("stderr: {line}");
        transcript.push_str(line.trim_end());
        transcript.push('\n');
    }
    transcript.push_str(&format!("exit status {}\n", output.status.code().unwrap()));
    transcript
}

fn directory_with(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    directory
}

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["--help"]), @"
    $ zdt-units --help
    Restarts that lose no connection: writes systemd units, restarts services, proves it

    Usage: zdt-units <COMMAND>

    Commands:
      generate     Write the systemd units of every service
      install      Install the units of every service, enable and start them
      uninstall    Stop services, remove their units, and put back what they replaced
      explain      Show everything that follows from `zdt.toml`, and why
      restart      Restart services, in order, and prove that the new processes serve
      stop         Drain services, end them, and close their sockets
      start        Open the sockets of services, start what does not run, and prove that it serves
      status       Show how services are right now: state, release, connections, queue
      doctor       Find what will lose requests: limits, queues, timeouts, drop-ins, disks
      deploy       Copy a new release, and restart the service with it
      rollback     Restart the service with a release that served before
      releases     List the releases of a service: which serves, and which is the way back
      recover      Take back what broke off, or end it: after a power cut, or a killed `zdt-units`
      hold         Run a command while a service is down and its connections wait
      events       Show what operations did, and follow what they do
      history      Show how often services were restarted, how long it took, and how it ended
      probe        Send requests at a fixed rate and count every one that is lost
      logs         Show what services printed
      run          Run services without systemd, and restart them without losing a connection
      shutdown     End a launcher: its services drain, then it exits and the ports close
      upgrade      Let a launcher become another program, with all its sockets and processes
      unit         Start or stop a single unit of a launcher, without a plan and without proof
      verify       Prove that restarts lose nothing: of a service, or of any program in any language
      demo         Watch restarts lose nothing: a small app under load, beside the usual recipe
      schema       Print the JSON Schema of `zdt.toml`, for editors
      completions  Print what a shell needs to complete commands and flags
      man          Print the manual page, or write one for each command
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version
    exit status 0
    ");
}

#[test]
fn help_of_generate() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["generate", "--help"]), @r#"
    $ zdt-units generate --help
    Write the systemd units of every service

    Without `--out` they are printed, each under the path it belongs to.

    Usage: zdt-units generate [OPTIONS]

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --target-systemd <RELEASE>
              The oldest systemd that is to read the units; what it does not know is left out
              
              [default: 252]

          --user
              Units for `systemd --user`: no user of its own, and less of a sandbox

          --out <DIR>
              Write the units into this directory, each file at once or not at all

          --stdout
              Print the units, which is also the default

          --check
              Write nothing; exit with 8 and the differences if the files in `--out` are not up to date

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    "#);
}

#[test]
fn help_of_restart() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["restart", "--help"]), @"
    $ zdt-units restart --help
    Restart services, in order, and prove that the new processes serve

    Each comes after those that it needs (`after` in `zdt.toml`), and those that need nothing of each
    other are restarted at the same time. After a failure no other one is begun.

    Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 6 taken back and
    the old process serves, 7 look now, 9 done but an old process was killed with requests in it. Of
    several services the worst counts.

    Usage: zdt-units restart [OPTIONS] [SERVICE]...

    Arguments:
      [SERVICE]...
              Names of services in `zdt.toml`

    Options:
          --all
              All services of `zdt.toml`, and units of others in it

          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --control <SOCKET>
              Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it
              runs, or systemd]

          --user
              Services of `systemd --user`

          --only-changed
              Only those whose program, unit files or environment files have changed since they were
              started

          --parallel <N>
              At most so many at the same time

          --dry-run
              Print what would be done, and do nothing

          --force
              Go on where it would be refused: unhealthy before, failed too often, or over a migration

          --skip-migrations
              Run no migration, and take none back

          --canary
              Replace one process first, and watch it for the time of `bake` before the others

          --wait[=<DURATION>]
              Wait until others are done with the service, at most for so long, instead of refusing

          --json
              Print events as JSON, one object a line, on standard output

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    ");
}

#[test]
fn help_of_recover() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["recover", "--help"]), @"
    $ zdt-units recover --help
    Take back what broke off, or end it: after a power cut, or a killed `zdt-units`

    Where nothing broke off, says what is not as it should be, and does nothing.

    Exit status: 0 done, or nothing to do; 4 refused and nothing touched, 5 stopped before any change, 7
    look now.

    Usage: zdt-units recover [OPTIONS] [SERVICE]...

    Arguments:
      [SERVICE]...
              Only these services

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --control <SOCKET>
              Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it
              runs, or systemd]

          --user
              Services of `systemd --user`

          --stop-orphans
              Also end processes of a launcher that was killed, which the one that runs now did not take
              up

          --dry-run
              Print what would be done, and do nothing

          --json
              Print events as JSON, one object a line, on standard output

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    ");
}

#[test]
fn help_of_hold() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["hold", "--help"]), @"
    $ zdt-units hold --help
    Run a command while a service is down and its connections wait

    The service is drained and stopped; its sockets stay open. However the command ends, and if this
    program is killed too, the service is started again.

    Exit status: that of the command, as a shell has it, when the service is back; 4 refused and nothing
    touched, 5 stopped before any change, 6 the command was not run and the service is back, 7 the
    service did not come back.

    Usage: zdt-units hold [OPTIONS] --max <TIME> <SERVICE> -- <COMMAND>...

    Arguments:
      <SERVICE>
              The service's name in `zdt.toml`

      <COMMAND>...
              What to run, with `ZDT_SERVICE` in its environment

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --control <SOCKET>
              Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it
              runs, or systemd]

          --user
              A service of `systemd --user`

          --max <TIME>
              How long the command may take: then it is terminated, and killed 5 s later

          --wait[=<DURATION>]
              Wait until others are done with the service, at most for so long, instead of refusing

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    ");
}

/// A command that is not told apart, or may take for ever, is not begun.
#[test]
fn a_hold_needs_a_command_and_a_limit() {
    let directory = directory_with(SHOP);
    let said = transcript(directory.path(), &["hold", "shop", "mv", "a", "b"]);
    insta::assert_snapshot!(said, @"
    $ zdt-units hold shop mv a b
    stderr: error: unexpected argument 'mv' found
    stderr:
    stderr: Usage: zdt-units hold [OPTIONS] --max <TIME> <SERVICE> -- <COMMAND>...
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let said = transcript(Path::new("/"), &["generate", "--check"]);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units generate --check
    stderr: error: the following required arguments were not provided:
    stderr:   --out <DIR>
    stderr:
    stderr: Usage: zdt-units generate --out <DIR> --check
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    "#);
}

#[test]
fn generate_prints_each_unit_under_its_path() {
    let directory = directory_with(SHOP);
    let said = transcript(directory.path(), &["generate"]);
    let headings: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("# /etc/"))
        .collect();
    assert_eq!(
        headings,
        [
            "# /etc/systemd/system/shop.socket",
            "# /etc/systemd/system/shop.service"
        ]
    );
    let explicit = transcript(directory.path(), &["generate", "--stdout"]);
    let after_the_command = |said: &str| said.split_once('\n').unwrap().1.to_owned();
    assert_eq!(after_the_command(&said), after_the_command(&explicit));
}

#[test]
fn generated_files_are_written_once_and_compared() {
    let directory = directory_with(SHOP);
    let generate = |more: &[&str]| {
        transcript(
            directory.path(),
            &[&["generate", "--out", "units"], more].concat(),
        )
    };
    let mut said = generate(&["--check"]);
    said.push_str(&generate(&[]));
    said.push_str(&generate(&["--check"]));

    let socket = directory.path().join("units/shop.socket");
    let edited = fs::read_to_string(&socket)
        .unwrap()
        .replace("Backlog=4096", "Backlog=128");
    fs::write(&socket, edited).unwrap();
    said.push_str(&generate(&["--check"]));
    said.push_str(&generate(&[]));

    let mut files: Vec<_> = fs::read_dir(directory.path().join("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    said.push_str(&format!("files: {files:?}\n"));
    insta::assert_snapshot!(said, @r#"
    $ zdt-units generate --out units --check
    `units/shop.socket` is missing
    `units/shop.service` is missing
    exit status 8
    $ zdt-units generate --out units
    stderr: wrote `units/shop.socket`
    stderr: wrote `units/shop.service`
    exit status 0
    $ zdt-units generate --out units --check
    exit status 0
    $ zdt-units generate --out units --check
    `units/shop.socket` differs (- as it is, + as it would be written)
    -Backlog=128
    +Backlog=4096
    exit status 8
    $ zdt-units generate --out units
    stderr: wrote `units/shop.socket`
    stderr: unchanged `units/shop.service`
    exit status 0
    files: ["shop.service", "shop.socket"]
    "#);
}

#[test]
fn a_config_that_is_missing_or_wrong_is_status_3() {
    let directory = directory_with("[service.shop]\nexec = [\"/bin/true\"]\nlisen = \":80\"\n");
    let mut said = transcript(directory.path(), &["generate"]);
    said.push_str(&transcript(
        directory.path(),
        &["generate", "--config", "other.toml"],
    ));
    insta::assert_snapshot!(said, @r#"
    $ zdt-units generate
    stderr:   error: service `shop` has no socket
    stderr:    ╭─[zdt.toml:1:10]
    stderr:  1 │ [service.shop]
    stderr:    ·          ────
    stderr:  2 │ exec = ["/bin/true"]
    stderr:    ╰────
    stderr:   help: add `listen = "0.0.0.0:80"`; `":80"` takes IPv6 too. What serves nobody is of another
    stderr:         `kind`, such as `worker`
    stderr:
    stderr:   error: unknown key `lisen`
    stderr:    ╭─[zdt.toml:3:1]
    stderr:  2 │ exec = ["/bin/true"]
    stderr:  3 │ lisen = ":80"
    stderr:    · ──┬──
    stderr:    ·   ╰── did you mean `listen`?
    stderr:    ╰────
    stderr:
    stderr: error: 2 mistakes in `zdt.toml`
    exit status 3
    $ zdt-units generate --config other.toml
    stderr: error: failed to read `other.toml`: No such file or directory (os error 2)
    exit status 3
    "#);
}

#[test]
fn a_service_that_is_not_in_the_file_is_status_2() {
    let directory = directory_with(SHOP);
    let said = transcript(directory.path(), &["restart", "shpo", "--dry-run"]);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units restart shpo --dry-run
    stderr: error: there is no service `shpo` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2
    "#);
}

#[test]
fn explain_gives_a_reason_for_each_line() {
    let directory = directory_with(
        "[service.shop]\nexec = [\"/bin/true\"]\nlisten = \"0.0.0.0:80\"\nsandbox = \"none\"\nuser = \"www-data\"\n",
    );
    insta::assert_snapshot!(transcript(directory.path(), &["explain", "shop"]), @"
    $ zdt-units explain shop
    shop
      restart  `queue`: the process is stopped, then the next one is started; new connections wait in the kernel
      stop     31s at most: grace 0s, limit 30s, linger 1s; killed 10s later if it is still there
      ready    READY=1 within 60s
      queue    4097 connections can wait on `http`: 4.1 s at 1000 new ones a second (less where net.core.somaxconn is below 4096)

      shop.socket
        Description=shop: socket `http`         what lists and the journal call it
        ListenStream=0.0.0.0:80                 where clients connect
        FileDescriptorName=http                 the name under which the program finds this socket
        NoDelay=yes                             answers leave at once
        DeferAcceptSec=5                        the client speaks first: hand a connection over when its first byte is here
        Backlog=4096                            connections that wait while the service restarts; net.core.somaxconn caps it
        WantedBy=sockets.target                 what `systemctl enable` adds it to

      shop.service
        Description=shop                        what lists and the journal call it
        Requires=shop.socket                    a start opens a socket that is missing, and the program never runs without
        After=shop.socket                       other units are started first, its own sockets among them
        StartLimitIntervalSec=0                 a crash loop must never close the port
        Type=notify                             a restart returns when the new process is ready, not when it was started
        NotifyAccess=main                       only the main process may say that it is ready
        ExecStart=/bin/true                     the program and its arguments; no shell reads them
        Environment=ZDT_SERVICE=shop            variables of the process
        Environment=ZDT_DRAIN_GRACE=0s
        Environment=ZDT_DRAIN_LIMIT=30s
        Environment=ZDT_DRAIN_LINGER=1s
        Restart=always                          a crashed process is started again, and connections wait for it
        RestartSec=500ms                        not below 250ms: more than 20 starts in 2 s would close the port
        TimeoutStartSec=60s                     a process that is not ready by then is started again
        TimeoutStopSec=41s                      longer than the drain: grace 0s, limit 30s, linger 1s
        KillMode=mixed                          helpers keep running until the main process has drained
        KillSignal=SIGTERM                      what starts the drain
        LimitNOFILE=65536                       each connection is a descriptor
        User=www-data                           who it runs as
        WantedBy=multi-user.target              what `systemctl enable` adds it to
        Also=shop.socket                        `systemctl enable` enables the sockets together with the service
    exit status 0
    ");
    insta::assert_snapshot!(transcript(directory.path(), &["explain", "shpo"]), @"
    $ zdt-units explain shpo
    stderr: error: there is no service `shpo` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2
    ");
}

#[test]
fn packages_get_completions_and_manual_pages() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = transcript(directory.path(), &["completions", shell]);
        assert!(script.contains("target-systemd"), "{script}");
        assert!(script.ends_with("exit status 0\n"), "{script}");
    }
    let said = transcript(directory.path(), &["man", "--out", "man1"]);
    assert_eq!(said, "$ zdt-units man --out man1\nexit status 0\n");
    let mut pages: Vec<_> = fs::read_dir(directory.path().join("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert!(pages.contains(&"zdt-units.1".to_owned()), "{pages:?}");
    assert!(
        pages.contains(&"zdt-units-generate.1".to_owned()),
        "{pages:?}"
    );
}

#[test]
fn an_older_systemd_gets_what_it_knows() {
    let directory = directory_with(SHOP);
    let old = transcript(directory.path(), &["generate", "--target-systemd=245"]);
    assert!(!old.contains("ProcSubset=pid"), "{old}");
    assert!(old.contains("note: left out `ProcSubset=`"), "{old}");
    let older = transcript(directory.path(), &["generate", "--target-systemd=200"]);
    assert!(older.ends_with("exit status 2\n"), "{older}");
}

#[test]
fn verify_wants_a_service_or_a_program() {
    let verify = |arguments: &[&str]| {
        let shown = transcript(Path::new("/"), &[&["verify"], arguments].concat());
        shown.split_once('\n').unwrap().1.to_owned()
    };
    insta::assert_snapshot!(verify(&["--rate=0", "--path=x", "--", "true"]), @r"
    stderr: error: --rate 0: write a number above 0
    stderr: error: --path x: a path starts with `/` and has no spaces
    exit status 2
    ");
    assert!(verify(&[]).contains("required arguments were not provided"));
    assert!(verify(&["shop", "--", "true"]).contains("cannot be used with"));
    assert!(verify(&["--only=tcp", "--", "true"]).contains("the clients are new, silent"));
    insta::assert_snapshot!(verify(&["--listen=/nowhere/x.sock", "--", "true"]), @r"
    stderr: error: failed to bind `/nowhere/x.sock`: No such file or directory (os error 2); create its directory first
    exit status 4
    ");
    // Before a restart, not after all of them.
    insta::assert_snapshot!(verify(&["--html=/nowhere/x.html", "--", "true"]), @r"
    stderr: error: failed to write `/nowhere/x.html`: its directory is not there
    stderr:
    stderr: hint: create the directory first
    exit status 2
    ");
    insta::assert_snapshot!(verify(&["--html=/dev/null", "--", "true"]), @r"
    stderr: error: failed to write `/dev/null`: it is there, and not a file
    exit status 2
    ");
}

#[test]
fn verify_knows_the_services_of_the_file() {
    let directory = directory_with(SHOP);
    insta::assert_snapshot!(transcript(directory.path(), &["verify", "shpo"]), @r"
    $ zdt-units verify shpo
    stderr: error: there is no service `shpo` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2
    ");
}

#[test]
fn help_of_install() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["install", "--help"]), @r#"
    $ zdt-units install --help
    Install the units of every service, enable and start them

    What is installed already is compared directive by directive, and each change is told with its cost
    before anything is touched. No open socket is closed unless `--allow-gap` is given.

    Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 6 a take-over
    failed and the old service runs again, 7 look now, 8 `--check` found differences.

    Usage: zdt-units install [OPTIONS]

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --target-systemd <RELEASE>
              The oldest systemd that is to read the units; what it does not know is left out
              
              [default: 252]

          --user
              Units for `systemd --user`: no user of its own, and less of a sandbox

          --root <DIR>
              Install into this directory tree, of an image that does not run, and start nothing

          --dry-run
              Print what would be done and what it costs, and do nothing

          --check
              Do nothing; exit with 8 if anything would be done or is not as the file says

          --restart
              Restart the services whose process has not seen all of it

          --allow-gap
              Close open sockets where a change cannot be had otherwise

          --take-over [<UNIT>]
              Replace units that others wrote: of the same names, or this one

          --json
              Print events as JSON, one object a line, on standard output

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    "#);
}

#[test]
fn help_of_uninstall() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["uninstall", "--help"]), @r#"
    $ zdt-units uninstall --help
    Stop services, remove their units, and put back what they replaced

    Only files that zdt-units wrote are removed. No `zdt.toml` is needed.

    Usage: zdt-units uninstall [OPTIONS] <SERVICE>...

    Arguments:
      <SERVICE>...
              Names of services

    Options:
          --user
              From `systemd --user`

          --root <DIR>
              From this directory tree, of an image that does not run

          --dry-run
              Print what would be done, and do nothing

          --json
              Print events as JSON, one object a line, on standard output

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    "#);
}

/// An image: no manager, and the second time nothing to do.
#[test]
fn an_image_is_installed_into_compared_and_cleared() {
    let directory = directory_with(SHOP);
    let mut said = String::new();
    for arguments in [
        &["install", "--root", "image", "--dry-run"][..],
        &["install", "--root", "image", "--check"],
        &["install", "--root", "image"],
        &["install", "--root", "image", "--check"],
        &["install", "--root", "image"],
    ] {
        said.push_str(&steady(&transcript(directory.path(), arguments)));
    }
    let units = directory.path().join("image/etc/systemd/system");
    let wants = units.join("multi-user.target.wants/shop.service");
    assert_eq!(
        fs::read_link(&wants).unwrap(),
        Path::new("/etc/systemd/system/shop.service")
    );
    // A unit of the same name in a package of the image is not silently hidden.
    let packaged = directory.path().join("image/usr/lib/systemd/system");
    fs::create_dir_all(&packaged).unwrap();
    fs::write(
        packaged.join("other.service"),
        "[Service]\nExecStart=/bin/true\n",
    )
    .unwrap();
    let other = directory_with(&SHOP.replace("shop", "other"));
    let root = directory.path().join("image");
    let refused = transcript(other.path(), &["install", "--root", root.to_str().unwrap()]);
    said.push_str(&refused.replace(directory.path().to_str().unwrap(), "."));
    for arguments in [
        &["uninstall", "shop", "--root", "image", "--dry-run"][..],
        &["uninstall", "shop", "--root", "image"],
        &["uninstall", "shop", "--root", "image"],
    ] {
        said.push_str(&steady(&transcript(directory.path(), arguments)));
    }
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units install --root image --dry-run
    create `shop.socket`
    create `shop.service`

    1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    exit status 0
    $ zdt-units install --root image --check
    create `shop.socket`
    create `shop.service`

    1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    exit status 8
    $ zdt-units install --root image
    stderr: create `shop.socket`
    stderr: create `shop.service`
    stderr:
    stderr:    (time)  1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service`
    stderr:    (time)  done
    exit status 0
    $ zdt-units install --root image --check
    exit status 0
    $ zdt-units install --root image
    stderr: nothing to do: all 2 units are installed as wanted
    exit status 0
    $ zdt-units install --root ./image
    stderr: create `other.socket`
    stderr: create `other.service`
    stderr: note: `shop.service` is of a service that this file does not have; `zdt-units uninstall shop` removes it
    stderr: note: `shop.socket` is of a service that this file does not have; `zdt-units uninstall shop` removes it
    stderr:
    stderr: error: `./image/etc/systemd/system/other.service` was not written by zdt-units
    stderr:
    stderr: hint: `zdt-units install --take-over other.service` replaces it; its file is kept, and `zdt-units uninstall` puts it back
    stderr:
    stderr: nothing was touched
    exit status 4
    $ zdt-units uninstall shop --root image --dry-run
    remove `shop.service`
    remove `shop.socket`

    1. disable `shop.service` and `shop.socket`, remove `shop.service` and `shop.socket` in `image/etc/systemd/system` (limit 30s)
    exit status 0
    $ zdt-units uninstall shop --root image
    stderr: remove `shop.service`
    stderr: remove `shop.socket`
    stderr:
    stderr:    (time)  1. disable `shop.service` and `shop.socket`, remove `shop.service` and `shop.socket` in `image/etc/systemd/system`
    stderr:    (time)  done
    exit status 0
    $ zdt-units uninstall shop --root image
    stderr: nothing to do: zdt-units has no units of `shop` installed
    exit status 0
    "#);
}

/// Times differ from run to run.
fn steady(said: &str) -> String {
    let steady = |line: &str| match line.split_once("s  ") {
        Some((time, rest)) if time.ends_with(|last: char| last.is_ascii_digit()) => {
            format!("stderr:    (time)  {rest}\n")
        }
        _ => format!("{line}\n"),
    };
    said.lines().map(steady).collect()
}

#[test]
fn install_says_what_is_wrong_before_it_does_anything() {
    let directory = directory_with(SHOP);
    let mut said = String::new();
    for arguments in [
        &["install", "--check", "--dry-run"][..],
        &["install", "--root", "image", "--restart"],
        &["install", "--root", "image", "--take-over", "a b"],
        &["uninstall", "--root", "image", "a b"],
    ] {
        said.push_str(&transcript(directory.path(), arguments));
    }
    assert!(!directory.path().join("image").exists());
    insta::assert_snapshot!(said, @r#"
    $ zdt-units install --check --dry-run
    stderr: error: the argument '--check' cannot be used with '--dry-run'
    stderr:
    stderr: Usage: zdt-units install --check
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    $ zdt-units install --root image --restart
    stderr: error: the argument '--root <DIR>' cannot be used with '--restart'
    stderr:
    stderr: Usage: zdt-units install --root <DIR>
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    $ zdt-units install --root image --take-over a b
    stderr: error: `a b.service` does not do as the name of a unit
    stderr:
    stderr: hint: `systemd-escape` turns other text into a unit name
    exit status 2
    $ zdt-units uninstall --root image a b
    stderr: error: `a b` does not do as a name
    stderr:
    stderr: hint: use a letter, then up to 30 letters, digits, `_` and `-`
    exit status 2
    "#);
}

/// One of the files cannot be written, so none is.
#[test]
fn a_directory_is_never_half_written() {
    let directory = directory_with(SHOP);
    fs::create_dir_all(directory.path().join("units/shop.service")).unwrap();
    let said = transcript(directory.path(), &["generate", "--out", "units"]);
    assert!(said.ends_with("exit status 1\n"), "{said}");
    let found: Vec<_> = fs::read_dir(directory.path().join("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(found, ["shop.service"]);
}

#[test]
fn a_unit_that_is_no_longer_generated_is_named() {
    let directory = directory_with(&SHOP.replace("shop", "old"));
    transcript(directory.path(), &["generate", "--out", "units"]);
    fs::write(directory.path().join("zdt.toml"), SHOP).unwrap();
    fs::write(directory.path().join("units/theirs.service"), "[Service]\n").unwrap();
    insta::assert_snapshot!(transcript(directory.path(), &["generate", "--out", "units"]), @"
    $ zdt-units generate --out units
    stderr: note: `units/old.service` is not generated from this file
    stderr: note: `units/old.socket` is not generated from this file
    stderr: wrote `units/shop.socket`
    stderr: wrote `units/shop.service`
    exit status 0
    ");
    insta::assert_snapshot!(transcript(directory.path(), &["generate", "--out", "units", "--check"]), @"
    $ zdt-units generate --out units --check
    stderr: note: `units/old.service` is not generated from this file
    stderr: note: `units/old.socket` is not generated from this file
    exit status 0
    ");
}

/// Three restarts as they are in the file, the last of them cut off, and one of a kind that is not known here.
const EVENTS: &str = r#"
{"time":"2026-11-20T20:29:15.000Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":0.1,"kind":"planned","operation":"deploy","release":"v2","strategy":"queue","steps":[],"rollback":[],"dry_run":false,"alias":"SERVICE_RESTART_START"}
{"time":"2026-11-20T20:29:15.100Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":100.0,"kind":"step_failed","phase":"forward","step":2,"reason":"it ended with status 1","hint":null}
{"time":"2026-11-20T20:29:16.500Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":1500.0,"kind":"finished","outcome":"rolled_back","alias":"ROLLBACK_SUCCESS"}
{"time":"2026-11-21T08:00:00.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":0.1,"kind":"planned","strategy":"standby","steps":[],"rollback":[],"dry_run":false}
{"time":"2026-11-21T08:00:00.100Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":100.0,"kind":"beamed"}
{"time":"2026-11-21T08:00:02.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":2000.0,"kind":"finished","outcome":"completed"}
{"time":"2026-11-21T09:00:00.000Z","v":1,"restart_id":"c3","serv"#;

fn directory_with_events() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("events.jsonl");
    let (older, newer) = EVENTS.split_at(EVENTS.find("{\"time\":\"2026-11-21").unwrap());
    fs::write(directory.path().join("events.jsonl.1"), older).unwrap();
    fs::write(&log, newer).unwrap();
    let text = format!("{SHOP}[events]\nfile = {log:?}\n");
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    directory
}

fn with_dir(directory: &tempfile::TempDir, arguments: &[&str]) -> String {
    let shown = transcript(directory.path(), arguments);
    shown.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn events_are_shown_in_the_order_in_which_they_came() {
    let directory = directory_with_events();
    let shown = |arguments: &[&str]| with_dir(&directory, &[&["events"], arguments].concat());
    insta::assert_snapshot!(shown(&[]), @"
    $ zdt-units events
    2026-11-20T20:29:15.000Z  deploy of `shop` to `v2` begins (strategy `queue`)
    2026-11-20T20:29:15.100Z  deploy of `shop` to `v2`: step 2 failed: it ended with status 1
    2026-11-20T20:29:16.500Z  deploy of `shop` to `v2`: rolled back, the release of before serves, after 1.5 s (it ended with status 1)
    2026-11-21T08:00:00.000Z  restart of `blog` begins (strategy `standby`)
    2026-11-21T08:00:02.000Z  restart of `blog`: done, after 2.0 s
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(shown(&["shop", "--kind", "failed", "--since", "2026-11-20"]), @"
    $ zdt-units events shop --kind failed --since 2026-11-20
    2026-11-20T20:29:15.100Z  deploy of `shop` to `v2`: step 2 failed: it ended with status 1
    2026-11-20T20:29:16.500Z  deploy of `shop` to `v2`: rolled back, the release of before serves, after 1.5 s (it ended with status 1)
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(shown(&["blog", "--json", "--since", "2026-11-21T08:00:00.05Z"]), @r#"
    $ zdt-units events blog --json --since 2026-11-21T08:00:00.05Z
    {"time":"2026-11-21T08:00:00.100Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":100.0,"kind":"beamed"}
    {"time":"2026-11-21T08:00:02.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":2000.0,"kind":"finished","outcome":"completed"}
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    "#);
    insta::assert_snapshot!(shown(&["--kind", "finishd"]), @"
    $ zdt-units events --kind finishd
    stderr: error: invalid value 'finishd' for '--kind <KIND>': `finishd` is not a kind of event; did you mean `finished`?
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}

#[test]
fn history_counts_what_ended() {
    let directory = directory_with_events();
    insta::assert_snapshot!(with_dir(&directory, &["history"]), @"
    $ zdt-units history
    service  count    failed  rolled back  lossy    min    avg    p95    max  last
    blog         1         0            0      0  2.0 s  2.0 s  2.0 s  2.0 s  2026-11-21T08:00:02Z restart: completed
    shop         1  1 (100%)     1 (100%)      0  1.5 s  1.5 s  1.5 s  1.5 s  2026-11-20T20:29:16Z deploy v2: rolled back
    all          2   1 (50%)      1 (50%)      0  1.5 s  1.8 s  2.0 s  2.0 s  2026-11-21T08:00:02Z restart: completed
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(with_dir(&directory, &["history", "shop", "--json"]), @r#"
    $ zdt-units history shop --json
    {
      "services": [
        {
          "service": "shop",
          "count": 1,
          "failed": 1,
          "rolled_back": 1,
          "lossy": 0,
          "failure_rate": 1.0,
          "rollback_rate": 1.0,
          "min_seconds": 1.5,
          "avg_seconds": 1.5,
          "p95_seconds": 1.5,
          "max_seconds": 1.5,
          "last": {
            "time": "2026-11-20T20:29:16Z",
            "service": "shop",
            "operation": "deploy",
            "release": "v2",
            "outcome": "rolled_back"
          }
        }
      ],
      "total": {
        "service": "",
        "count": 1,
        "failed": 1,
        "rolled_back": 1,
        "lossy": 0,
        "failure_rate": 1.0,
        "rollback_rate": 1.0,
        "min_seconds": 1.5,
        "avg_seconds": 1.5,
        "p95_seconds": 1.5,
        "max_seconds": 1.5,
        "last": {
          "time": "2026-11-20T20:29:16Z",
          "service": "shop",
          "operation": "deploy",
          "release": "v2",
          "outcome": "rolled_back"
        }
      }
    }
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    "#);
    fs::remove_file(directory.path().join("events.jsonl")).unwrap();
    fs::remove_file(directory.path().join("events.jsonl.1")).unwrap();
    insta::assert_snapshot!(with_dir(&directory, &["history"]), @"
    $ zdt-units history
    stderr: note: no operation has ended yet in `DIR/events.jsonl`
    exit status 0
    ");
}

#[test]
fn events_that_are_not_written_down_cannot_be_read() {
    let directory = directory_with(&format!("{SHOP}[events]\nfile = false\n"));
    insta::assert_snapshot!(transcript(directory.path(), &["events"]), @"
    $ zdt-units events
    stderr: error: `[events]` has `file = false`, so nothing is written down
    stderr:
    stderr: hint: the journal may have it: `journalctl --identifier zdt-units`
    exit status 3
    ");
}

#[test]
fn releases_are_listed() {
    let directory = directory_with("");
    let root = directory.path().join("shop");
    let text = format!(
        "{}release = {{ root = \"{}\" }}\n",
        SHOP.replace("/bin/true", "{{release.path}}/bin/shop"),
        root.display()
    );
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    let said = |arguments: &[&str]| {
        let said = transcript(directory.path(), arguments);
        said.replace(root.to_str().unwrap(), "/srv/shop")
    };
    insta::assert_snapshot!(said(&["releases", "shop"]), @"
    $ zdt-units releases shop
    stderr: note: there is no release in `/srv/shop/releases`; `zdt-units deploy shop --from PATH` brings the first one
    exit status 0
    ");

    let records = root.join("releases/.zdt");
    fs::create_dir_all(&records).unwrap();
    let served = |first: &str, last: &str| {
        format!("\"served\": {{\"first\": \"{first}\", \"last\": \"{last}\"}}")
    };
    let day = |day: u32| format!("2026-01-{day:02}T12:00:00.000Z");
    let all = [
        ("v1", served(&day(1), &day(1))),
        (
            "v2",
            format!("\"migrated\": \"{}\", {}", day(2), served(&day(2), &day(2))),
        ),
        ("v3", format!("\"failed\": \"{}\"", day(3))),
    ];
    for (number, (name, fate)) in all.iter().enumerate() {
        fs::create_dir(root.join("releases").join(name)).unwrap();
        let created = day(u32::try_from(number).unwrap() + 1);
        // The checksum of nothing at all.
        let record = format!(
            "{{\"v\": 1, \"name\": \"{name}\", \"created\": \"{created}\", \"source\": \"/tmp/{name}\", \
             \"checksum\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", \
             \"files\": 2, \"bytes\": 3000000, {fate}}}"
        );
        fs::write(records.join(format!("{name}.json")), record).unwrap();
    }
    fs::create_dir(root.join("releases/theirs")).unwrap();
    fs::create_dir(root.join("releases/bad")).unwrap();
    fs::write(records.join("bad.json"), "{").unwrap();
    fs::write(root.join("releases/v1/added"), "").unwrap();
    std::os::unix::fs::symlink("releases/v2", root.join("current")).unwrap();
    std::os::unix::fs::symlink("releases/v3", root.join("next")).unwrap();
    insta::assert_snapshot!(said(&["releases", "shop", "--verify"]), @"
    $ zdt-units releases shop --verify
    release               created      size                served  state
    v3       2026-01-03T12:00:00Z  2.86 MiB                     -  next, failed, intact
    v2       2026-01-02T12:00:00Z  2.86 MiB  2026-01-02T12:00:00Z  current, migrated, intact
    v1       2026-01-01T12:00:00Z  2.86 MiB  2026-01-01T12:00:00Z  previous, changed
    bad                         -         -                     -  damaged record
    theirs                      -         -                     -  not deployed
    stderr: note: `/srv/shop/releases/.zdt/bad.json` is damaged: EOF while parsing an object at line 1 column 1; deploy the release under another name, and remove this one by hand
    stderr: note: `v1` is not what was deployed
    exit status 8
    ");
    let said = said(&["releases", "shop", "--json"]);
    let mut listed: serde_json::Value = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    let releases = listed["releases"].as_array_mut().unwrap();
    releases.retain(|release| release["name"] == "v2" || release["name"] == "bad");
    assert_eq!(
        listed,
        serde_json::json!({
            "v": 1,
            "service": "shop",
            "root": "/srv/shop",
            "current": "v2",
            "next": "v3",
            "serving": "v2",
            "previous": "v1",
            "releases": [
                {
                    "name": "v2",
                    "state": ["current", "migrated"],
                    "record": {
                        "v": 1,
                        "name": "v2",
                        "created": day(2),
                        "source": "/tmp/v2",
                        "checksum": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                        "files": 2,
                        "bytes": 3_000_000,
                        "migrated": day(2),
                        "served": { "first": day(2), "last": day(2) },
                    },
                },
                { "name": "bad", "state": ["damaged record"], "record": null },
            ],
        })
    );
}

#[test]
fn releases_that_are_not_kept_have_no_list() {
    let directory = directory_with(SHOP);
    insta::assert_snapshot!(transcript(directory.path(), &["releases", "shop"]), @r#"
    $ zdt-units releases shop
    stderr: error: `zdt.toml` does not say where the releases of `shop` are kept
    stderr:
    stderr: hint: add `release = { root = "/srv/NAME" }`, and `{{release.path}}` to `exec`
    exit status 2
    "#);
    insta::assert_snapshot!(
        transcript(directory.path(), &["rollback", "shop", "../v1"]),
        @"
    $ zdt-units rollback shop ../v1
    stderr: error: `../v1` does not do as the name of a release
    stderr:
    stderr: hint: use a letter or a digit, then up to 99 letters, digits, `.`, `_`, `+` and `-`
    exit status 2
    "
    );
}

#[test]
fn help_of_status() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["status", "--help"]), @r"
    $ zdt-units status --help
    Show how services are right now: state, release, connections, queue

    Nothing is changed, and no service is started by looking at it.

    Usage: zdt-units status [OPTIONS] [SERVICES]...

    Arguments:
      [SERVICES]...
              Only these services

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --control <SOCKET>
              Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it
              runs, or systemd]

          --user
              Services of `systemd --user`

          --watch[=<TIME>]
              Look again so often, until Ctrl-C

          --json
              Print one JSON object, with `--watch` one a line

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    ");
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["doctor", "--help"]), @r"
    $ zdt-units doctor --help
    Find what will lose requests: limits, queues, timeouts, drop-ins, disks

    Examines what systemd has loaded, the processes and the kernel, and changes nothing. Each finding
    has a code, a reason and a remedy.

    Exit status: 0 it could look, whatever it found; with `--strict` 8 if it found a danger or a
    warning.

    Usage: zdt-units doctor [OPTIONS] [SERVICES]...

    Arguments:
      [SERVICES]...
              Only these services

    Options:
          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --control <SOCKET>
              Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it
              runs, or systemd]

          --target-systemd <RELEASE>
              The oldest systemd that is to read the units; what it does not know is left out
              
              [default: 252]

          --user
              Units for `systemd --user`: no user of its own, and less of a sandbox

          --unit <UNIT>
              Examine this service or socket unit, whoever wrote it; needs no `zdt.toml`

          --rate <N>
              New connections a second at the worst time [default: those of the machine, over 1 s]

          --strict
              Exit with 8 if there is a danger or a warning

          --json
              Print findings as JSON, in one object

      -h, --help
              Print help (see a summary with '-h')
    exit status 0
    ");
}

#[test]
fn what_is_looked_at_has_to_be_there() {
    let directory = directory_with(SHOP);
    let transcripts = [
        ["status", "shap"].as_slice(),
        &["doctor", "shap"],
        &["doctor", "--unit", "a b"],
        &["doctor", "--unit", "shop.target"],
        &["status", "--watch=soon"],
    ]
    .map(|arguments| transcript(directory.path(), arguments));
    insta::assert_snapshot!(transcripts.join("\n"), @r"
    $ zdt-units status shap
    stderr: error: there is no service `shap` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2

    $ zdt-units doctor shap
    stderr: error: there is no service `shap` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2

    $ zdt-units doctor --unit a b
    stderr: error: `a b.service` does not do as the name of a unit
    stderr:
    stderr: hint: `systemd-escape` turns other text into a unit name
    exit status 2

    $ zdt-units doctor --unit shop.target
    stderr: error: `shop.target` is neither a service nor a socket unit
    exit status 2

    $ zdt-units status --watch=soon
    stderr: error: invalid value 'soon' for '--watch[=<TIME>]': expected number at 0
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}
