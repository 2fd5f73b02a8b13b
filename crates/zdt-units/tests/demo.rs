//! `zdt-units demo` as a visitor or a CI job meets it.

#![expect(
    clippy::disallowed_methods,
    reason = "this test starts the program that it is about"
)]

use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_loses_nothing_and_says_so_as_json() {
    let output = Command::new(env!("CARGO_BIN_EXE_zdt-units"))
        .args(["demo", "--quick", "--json"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["v"], 1);
    for program in ["zdt", "stock"] {
        let measured = &shown[program];
        let restarts = measured["restarts"].as_array().unwrap();
        let beside_slow: Vec<_> = restarts.iter().map(|one| &one["slow_in_flight"]).collect();
        assert_eq!(beside_slow, [false, true], "{program}");
        assert_eq!(measured["probe"]["valid"], true, "{program}");
        assert_eq!(measured["probe"]["total"]["outcomes"]["scheduled"], 2762);
    }
    let zdt = &shown["zdt"]["probe"]["total"]["outcomes"];
    assert_eq!(zdt["ok"], zdt["scheduled"]);
    // Without a terminal each restart is a line.
    let lines: Vec<_> = told
        .lines()
        .filter(|line| line.contains("restart 2 of 2"))
        .collect();
    assert_eq!(lines.len(), 2, "{told}");
}
