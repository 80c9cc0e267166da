//! Unit tests of the shell's pure parts. The command has no test binary of its own: linking
//! DataFusion takes long.

#[path = "../../src/cli/folders.rs"]
mod folders;

#[path = "../../src/cli/sql"]
#[expect(
    dead_code,
    reason = "the tests of a part call less of it than the command"
)]
mod sql {
    mod cells;
    mod complete;
    mod config;
    mod editor;
    mod guard;
    mod inputs;
    mod lexer;
    mod meta;
    mod rows;
    mod table;
}
