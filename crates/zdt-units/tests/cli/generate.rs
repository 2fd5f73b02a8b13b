//! Units and other files, written or explained; nothing is installed.

use std::fs;

use super::{SHOP, directory_with, transcript};

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
