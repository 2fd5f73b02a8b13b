//! What `--help` says.

use std::path::Path;

use super::transcript;

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(transcript(Path::new("/"), &["--help"]), @"
    $ zdt-units --help
    Restarts that lose no connection: writes systemd units, restarts services, proves it

    Usage: zdt-units <COMMAND>

    Commands:
      generate     Write the systemd units of every service, or the file for a proxy in front of them
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
      balancer     Take a server out of rotation at its load balancer, put it back, or show how it is
      hold         Run a command while a service is down and its connections wait
      events       Show what operations did, and follow what they do
      history      Show how often services were restarted, how long it took, and how it ended
      dashboard    Serve a page that follows services, a running restart step by step, and the last ones
      probe        Send requests at a fixed rate and count every one that is lost
      logs         Show what services printed
      run          Run services without systemd, and restart them without losing a connection
      shutdown     End a launcher: its services drain, then it exits and the ports close
      upgrade      Let a launcher become another program, with all its sockets and processes
      unit         Start or stop single units of a launcher, without a plan and without proof
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
    Write the systemd units of every service, or the file for a proxy in front of them

    Without `--out` they are printed, each under the path it belongs to.

    Usage: zdt-units generate [OPTIONS] [SERVICE]...

    Arguments:
      [SERVICE]...
              With `--proxy`: only these services [default: those with the key `proxy`, or the only one]

    Options:
          --proxy <PROXY>
              What this proxy has to know of the services, in the place of their units
              
              [possible values: haproxy, nginx, caddy, traefik]

          --config <FILE>
              Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`

          --target-systemd <RELEASE>
              The oldest systemd that is to read the units; what it does not know is left out
              
              [default: 252]

          --user
              Units for `systemd --user`: no user of its own, and less of a sandbox

          --out <DIR>
              Write them into this directory, each file at once or not at all

          --stdout
              Print them, which is also the default

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

          --keep-in-rotation
              Leave it in rotation: its balancer is neither asked nor told

          --last
              Take it out of rotation although it is the last server that is up there

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

          --metrics
              Print it for the textfile collector of node_exporter

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
