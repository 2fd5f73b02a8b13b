//! gRPC, with tonic at both ends.

use std::error::Error;
use std::io::Read as _;

use zdt_e2e::machine::Machine;

use super::{directory, install, programs, restart};

const ADDRESS: &str = "127.0.0.1:50051";

/// Ten restarts cost no call and no tick. The client repeats no call; the
/// stream of ticks is told to end, and asked for again from the last tick on.
pub(crate) fn a_grpc_client_loses_no_call(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "grpc")?;
    let programs = programs(&directory("grpc"))?;
    let client = programs.iter().find(|program| program.ends_with("client"));
    let client = client.ok_or("the example has no client")?;
    let mut client =
        machine.spawn_in_net(&[&client.to_string_lossy(), "http://127.0.0.1:50051"])?;
    restart(machine, "clock", ADDRESS, 10)?;
    drop(client.0.stdin.take());
    let mut said = String::new();
    if let Some(mut stdout) = client.0.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    println!("gRPC, 10 restarts:\n{said}");
    assert!(said.contains(" calls answered, 0 failed, "), "{said}");
    assert!(said.contains(" ticks, 0 missing, 0 twice, "), "{said}");
    assert!(said.ends_with(" streams, 0 broken\n"), "{said}");
    Ok(())
}
