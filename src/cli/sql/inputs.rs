//! Parses `-c`, `-f` and script arguments, in the order of the command line.

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

/// Statements and scripts, in the order of the command line.
#[derive(Debug, Default)]
pub(super) struct Inputs(pub(super) Vec<Input>);

/// One input: the text of `-c`, or a path.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Command(String),
    File(String),
}

/// File name for standard input.
pub(super) const STANDARD_INPUT: &str = "-";

impl Args for Inputs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                Arg::new("command")
                    .short('c')
                    .long("command")
                    .value_name("SQL")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .help("Statements to run; may be repeated"),
            )
            .arg(
                Arg::new("file")
                    .short('f')
                    .long("file")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .help("A script to run, `-` for standard input; may be repeated"),
            )
            .arg(
                Arg::new("script")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .help("Scripts to run, as -f"),
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Inputs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut inputs = Self::default();
        inputs.update_from_arg_matches(matches)?;
        Ok(inputs)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let values = |id: &str, input: fn(String) -> Input| -> Vec<(usize, Input)> {
            let positions = matches.indices_of(id).into_iter().flatten();
            let texts = matches.get_many::<String>(id).into_iter().flatten();
            positions.zip(texts.cloned().map(input)).collect()
        };
        let mut inputs = values("command", Input::Command);
        inputs.extend(values("file", Input::File));
        inputs.extend(values("script", Input::File));
        inputs.sort_by_key(|(position, _)| *position);
        self.0 = inputs.into_iter().map(|(_, input)| input).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_keep_the_order_of_the_command_line() {
        let command = Inputs::augment_args(clap::Command::new("sql"));
        let arguments = ["sql", "-f", "a.sql", "-c", "SELECT 1", "-f", "b.sql"];
        let matches = command.try_get_matches_from(arguments).unwrap();
        let inputs = Inputs::from_arg_matches(&matches).unwrap().0;
        let texts: Vec<&str> = inputs
            .iter()
            .map(|input| match input {
                Input::Command(text) | Input::File(text) => text.as_str(),
            })
            .collect();
        assert_eq!(texts, ["a.sql", "SELECT 1", "b.sql"]);
    }
}
