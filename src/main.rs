//! The `faisca` command.

mod cli;
mod memory;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::keep_freed_memory();
    cli::main()
}
