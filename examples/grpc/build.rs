//! Makes Rust of the `.proto` file. protox reads it, so `protoc` need not be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["clock.proto"], ["proto"])?;
    tonic_prost_build::compile_fds(files)?;
    Ok(())
}
